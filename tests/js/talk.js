// Publishes 60 messages of all QoS to itself with MQTT.js and prints what came back as JSON.
'use strict';
const mqtt = require('mqtt');

const { TCP_PORT, WS_PORT, TOPIC, SCHEME, VERSION } = process.env;
const version = Number(VERSION);
const url = SCHEME === 'ws' ? `ws://127.0.0.1:${WS_PORT}/mqtt` : `mqtt://127.0.0.1:${TCP_PORT}`;
const options = { clientId: `js${process.pid}`, protocolVersion: version, reconnectPeriod: 0 };
if (version === 3) {
  options.protocolId = 'MQIsdp';
}
const count = 60;
const seen = [];

async function main() {
  const client = await mqtt.connectAsync(url, options);
  const complete = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${seen.length} of ${count} messages`)), 30000).unref();
    client.on('message', (topic, payload, packet) => {
      seen.push({ topic, payload: payload.toString(), qos: packet.qos });
      if (seen.length === count) {
        resolve();
      }
    });
  });
  await client.subscribeAsync(`${TOPIC}/#`, { qos: 2 });
  const sent = [];
  for (let number = 0; number < count; number += 1) {
    sent.push(client.publishAsync(`${TOPIC}/${number % 3}`, String(number), { qos: number % 3 }));
  }
  await Promise.all(sent);
  await complete;
  await client.endAsync();
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
