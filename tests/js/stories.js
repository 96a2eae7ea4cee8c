// The stories of test_client_stories.py with MQTT.js: each says what its client saw; the whole is
// printed as JSON.
'use strict';
const mqtt = require('mqtt');
const { once } = require('events');

const { TCP_PORT, WS_PORT, TOPIC, SCHEME, VERSION } = process.env;
const version = Number(VERSION);
const url = SCHEME === 'ws' ? `ws://127.0.0.1:${WS_PORT}/mqtt` : `mqtt://127.0.0.1:${TCP_PORT}`;
const base = { protocolVersion: version, reconnectPeriod: 0 };
if (version === 3) {
  base.protocolId = 'MQIsdp';
}
let clients = 0;

// A connected client that keeps what it received.
async function connect(options = {}) {
  clients += 1;
  const merged = { ...base, clientId: `${TOPIC}j${clients}`, ...options };
  const client = mqtt.connect(url, merged);
  client.on('error', () => {});
  client.seen = [];
  client.on('message', (topic, payload, packet) => {
    client.seen.push({ topic, payload: payload.toString(), packet });
  });
  client.on('disconnect', (packet) => {
    client.reason = packet.reasonCode;
  });
  [client.connack] = await once(client, 'connect');
  return client;
}

async function until(condition, what) {
  const end = Date.now() + 20000;
  while (!condition()) {
    if (Date.now() > end) {
      throw new Error(`gave up waiting for ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const payloads = (client) => client.seen.map((message) => message.payload);
const properties = (client) => client.seen[0].packet.properties;
const keep = version === 5 ? { properties: { sessionExpiryInterval: 60 } } : {};

// What the broker has routed before this is with `client` afterwards.
async function barrier(client) {
  await client.unsubscribeAsync(`${TOPIC}/barrier`);
}

async function retained(topic) {
  const publisher = await connect();
  await publisher.publishAsync(topic, 'kept', { qos: 1, retain: true });
  const first = await connect();
  await first.subscribeAsync(topic, { qos: 1 });
  await until(() => first.seen.length === 1, 'the retained message');
  await publisher.publishAsync(topic, '', { qos: 1, retain: true });
  const second = await connect();
  await second.subscribeAsync(topic, { qos: 1 });
  await barrier(second);
  return { payload: first.seen[0].payload, retain: first.seen[0].packet.retain, later: second.seen.length };
}

async function will(topic) {
  const watcher = await connect();
  await watcher.subscribeAsync(topic, { qos: 1 });
  const client = await connect({ will: { topic, payload: 'gone', qos: 1, retain: false } });
  client.stream.destroy();
  await until(() => watcher.seen.length === 1, 'the will');
  const orderly = await connect({ will: { topic, payload: 'not this', qos: 1, retain: false } });
  await orderly.endAsync();
  await barrier(watcher);
  return payloads(watcher);
}

async function session(topic) {
  const options = { clientId: `${TOPIC}js`, clean: false, ...keep };
  const first = await connect(options);
  await first.subscribeAsync(topic, { qos: 2 });
  await first.endAsync();
  const publisher = await connect();
  for (let number = 0; number < 6; number += 1) {
    await publisher.publishAsync(topic, String(number), { qos: 2 });
  }
  const second = await connect(options);
  await until(() => second.seen.length === 6, 'what was published meanwhile');
  return { present: version === 3 || second.connack.sessionPresent, payloads: payloads(second) };
}

async function shared(topic) {
  const members = [await connect(), await connect()];
  for (const member of members) {
    await member.subscribeAsync(`$share/g/${topic}`, { qos: 1 });
  }
  const publisher = await connect();
  for (let number = 0; number < 10; number += 1) {
    await publisher.publishAsync(topic, String(number), { qos: 1 });
  }
  await until(() => members[0].seen.length + members[1].seen.length === 10, 'ten messages');
  return members.map((member) => member.seen.length);
}

async function takeOver() {
  const clientId = `${TOPIC}jt`;
  const first = await connect({ clientId });
  const closed = once(first, 'close');
  const second = await connect({ clientId });
  await closed;
  await barrier(second);
  return version === 5 ? first.reason : 'closed';
}

async function request(topic) {
  const responder = await connect();
  responder.on('message', (_, payload, packet) => {
    responder.publish(packet.properties.responseTopic, payload, {
      qos: 1,
      properties: { correlationData: packet.properties.correlationData },
    });
  });
  await responder.subscribeAsync(`${topic}/ask`, { qos: 1 });
  const asker = await connect();
  await asker.subscribeAsync(`${topic}/answer`, { qos: 1 });
  await asker.publishAsync(`${topic}/ask`, 'question', {
    qos: 1,
    properties: {
      responseTopic: `${topic}/answer`,
      correlationData: Buffer.from([0, 255]),
      contentType: 'text/plain',
      payloadFormatIndicator: true,
      messageExpiryInterval: 100,
      userProperties: { b: ['1', '2'], a: '3' },
    },
  });
  await until(() => asker.seen.length === 1, 'the answer');
  const asked = properties(responder);
  return {
    answer: payloads(asker),
    correlation: properties(asker).correlationData.toString('hex'),
    type: asked.contentType,
    text: asked.payloadFormatIndicator,
    expires: asked.messageExpiryInterval > 60 && asked.messageExpiryInterval <= 100,
    user: [asked.userProperties.b, asked.userProperties.a],
  };
}

async function aliases(topic) {
  const receiver = await connect({ properties: { topicAliasMaximum: 5 } });
  await receiver.subscribeAsync(`${topic}/#`, { qos: 1 });
  const sender = await connect({ autoAssignTopicAlias: true });
  for (let number = 0; number < 30; number += 1) {
    await sender.publishAsync(`${topic}/${number % 15}`, String(number), { qos: 1 });
  }
  await until(() => receiver.seen.length === 30, 'thirty messages');
  return receiver.seen.every((message, number) => message.topic === `${topic}/${number % 15}`);
}

async function refused() {
  const client = await connect();
  const error = await client.publishAsync('$SYS/mine', 'x', { qos: 1 }).catch((reason) => reason);
  return version === 5 ? error.code : 'dropped';
}

async function main() {
  const result = {
    retained: await retained(`${TOPIC}/retained`),
    will: await will(`${TOPIC}/will`),
    session: await session(`${TOPIC}/session`),
    shared: await shared(`${TOPIC}/shared`),
    takeOver: await takeOver(),
    refused: await refused(),
  };
  if (version === 5) {
    result.request = await request(`${TOPIC}/request`);
    result.aliases = await aliases(`${TOPIC}/aliases`);
  }
  console.log(JSON.stringify(result));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
