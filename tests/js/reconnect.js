// Loses its WebSocket and lets MQTT.js reconnect: the session resumes and the message published
// meanwhile arrives. Prints what it saw as JSON.
'use strict';
const mqtt = require('mqtt');
const { once } = require('events');

const { TCP_PORT, WS_PORT, TOPIC } = process.env;
const payloads = [];

async function until(condition) {
  const end = Date.now() + 20000;
  while (!condition()) {
    if (Date.now() > end) {
      throw new Error(`gave up waiting; seen: ${payloads}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function main() {
  const other = await mqtt.connectAsync(`mqtt://127.0.0.1:${TCP_PORT}`);
  const client = await mqtt.connectAsync(`ws://127.0.0.1:${WS_PORT}/mqtt`, {
    clientId: `js${process.pid}`,
    protocolVersion: 5,
    clean: false,
    reconnectPeriod: 200,
    properties: { sessionExpiryInterval: 60 },
  });
  client.on('message', (topic, payload) => payloads.push(payload.toString()));
  await client.subscribeAsync(TOPIC, { qos: 1 });
  await other.publishAsync(TOPIC, 'before', { qos: 1 });
  await until(() => payloads.length === 1);
  const closed = once(client, 'close');
  const connected = once(client, 'connect');
  client.stream.destroy();
  await closed;
  await other.publishAsync(TOPIC, 'while away', { qos: 1 });
  const [connack] = await connected;
  await until(() => payloads.length === 2);
  await other.publishAsync(TOPIC, 'after', { qos: 1 });
  await until(() => payloads.length === 3);
  await client.endAsync();
  await other.endAsync();
  console.log(JSON.stringify({ sessionPresent: connack.sessionPresent, payloads }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
