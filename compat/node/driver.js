// KafkaJS. Usage: node driver.js BOOTSTRAP TESTDATA CASE...
// Prints one CASE line for each case. Modules are found through NODE_PATH.
'use strict'

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require('kafkajs')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

const [bootstrap, testdata, ...names] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'compat-node', brokers: [bootstrap], logLevel: logLevel.NOTHING })
const compressions = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

async function eventually (ms, what, condition) {
  const deadline = Date.now() + ms
  while (!(await condition())) {
    assert(Date.now() < deadline, `this did not come about in ${ms} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function withAdmin (f) {
  const admin = kafka.admin()
  await admin.connect()
  try { return await f(admin) } finally { await admin.disconnect() }
}

// A KRaft broker leads a new partition a moment after the request that made it was answered.
async function answers (admin, topic, numPartitions) {
  await eventually(20000, `${topic} answers with ${numPartitions} partitions`, async () => {
    try { return (await admin.fetchTopicOffsets(topic)).length === numPartitions } catch { return false }
  })
}

async function create (topic, numPartitions = 1) {
  await withAdmin(async admin => {
    await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: false })
    await answers(admin, topic, numPartitions)
  })
}

async function produce (topic, messages, options = {}, producerOptions = {}) {
  const producer = kafka.producer(producerOptions)
  await producer.connect()
  for (let i = 0; i < messages.length; i += 1000) {
    await producer.send({ topic, messages: messages.slice(i, i + 1000), ...options })
  }
  await producer.disconnect()
}

// Starts a member of a group; got receives { partition, message } in reading order.
async function member (groupId, topic, got, options = {}) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 300, maxWaitTimeInMs: 300, ...options })
  const state = { consumer, assigned: [] }
  consumer.on(consumer.events.GROUP_JOIN, e => { state.assigned = e.payload.memberAssignment[topic] || [] })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition, message }) => { got.push({ partition, message }) } })
  return state
}

async function consume (topic, count) {
  const got = []
  const { consumer } = await member('read-' + topic, topic, got)
  try {
    await eventually(60000, `${count} records of ${topic}`, () => got.length >= count)
  } finally {
    await consumer.disconnect()
  }
  assert.strictEqual(got.length, count)
  return got
}

async function codec (name) {
  const topic = 'kafkajs-codec-' + name
  await create(topic)
  const base = 1700000000000
  const messages = Array.from({ length: 2000 }, (_, i) => (
    { key: `k${i}`, value: `value-${i}-` + 'abc'.repeat(i % 40), timestamp: String(base + i), headers: { h: `${i}` } }))
  await produce(topic, messages, { compression: compressions[name] })
  const got = await consume(topic, messages.length)
  got.forEach(({ message }, i) => {
    assert.deepStrictEqual(
      [message.offset, message.key.toString(), message.value.toString(), message.timestamp, message.headers.h.toString()],
      [String(i), messages[i].key, messages[i].value, messages[i].timestamp, `${i}`])
  })
  return `${messages.length} records with keys, timestamps and headers`
}

function flightLines () {
  return fs.readFileSync(path.join(testdata, 'flights.jsonl'), 'utf8').split('\n').filter(l => l !== '')
}

async function flights (name) {
  const topic = 'flights-kafkajs-' + name
  await create(topic)
  const sent = flightLines()
  await produce(topic, sent.map(value => ({ value })), { compression: compressions[name] })
  const got = await consume(topic, sent.length)
  assert.deepStrictEqual(got.map(g => g.message.value.toString()), sent)
  return `${sent.length} flights in the order of the file`
}

async function flightsKeyed () {
  const topic = 'flights-kafkajs-keyed'
  await create(topic, 6)
  const byOrigin = (values) => {
    const m = {}
    for (const v of values) (m[JSON.parse(v).origin] ||= []).push(v)
    return m
  }
  const sent = flightLines()
  await produce(topic, sent.map(value => ({ key: JSON.parse(value).origin, value })))
  const got = await consume(topic, sent.length)
  const home = {}
  for (const { partition, message } of got) {
    const key = message.key.toString()
    home[key] ??= partition
    assert.strictEqual(partition, home[key], `the partition of ${key}`)
  }
  assert.deepStrictEqual(byOrigin(got.map(g => g.message.value.toString())), byOrigin(sent))
  return 'each origin in one partition and in order'
}

async function idempotent () {
  await create('kafkajs-idempotent')
  const messages = Array.from({ length: 5000 }, (_, i) => ({ value: `${i}` }))
  await produce('kafkajs-idempotent', messages, { acks: -1 }, { idempotent: true, maxInFlightRequests: 1 })
  const got = await consume('kafkajs-idempotent', messages.length)
  assert.deepStrictEqual(got.map(g => g.message.value.toString()), messages.map(m => m.value))
  return '5000 records in order, none twice'
}

async function groupRebalance () {
  const topic = 'kafkajs-group'
  await create(topic, 6)
  const send = (prefix) => produce(topic, Array.from({ length: 600 }, (_, i) => ({ value: prefix + i, partition: i % 6 })))
  const got = []
  const seen = () => new Set(got.map(g => g.message.value.toString())).size
  await send('a')
  const one = await member(topic, topic, got)
  await eventually(30000, 'one member reads everything', () => seen() === 600)
  const two = await member(topic, topic, got)
  await eventually(40000, 'two members have half each', () => one.assigned.length === 3 && two.assigned.length === 3)
  await send('b')
  await eventually(30000, 'both read the second half', () => seen() === 1200)
  await two.consumer.disconnect()
  await eventually(30000, 'the one that stays has all', () => one.assigned.length === 6)
  await one.consumer.disconnect()
  return await withAdmin(async admin => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
    assert.strictEqual(partitions.reduce((sum, p) => sum + Number(p.offset), 0), 1200)
    await admin.deleteGroups([topic])
    return '1, 2 and again 1 member; committed offsets; group deleted'
  })
}

async function admin () {
  return await withAdmin(async admin => {
    const topic = 'kafkajs-admin'
    assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }] }), true)
    assert.strictEqual(await admin.createTopics({ topics: [{ topic }] }), false)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    await answers(admin, topic, 4)
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
    assert.strictEqual(resources[0].configEntries.find(e => e.configName === 'retention.ms').configValue, '604800000')
    await produce(topic, Array.from({ length: 10 }, () => ({ value: 'v', partition: 0 })))
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
    const offsets = await admin.fetchTopicOffsets(topic)
    assert.strictEqual(offsets.find(o => o.partition === 0).low, '4')
    assert.strictEqual((await admin.describeCluster()).brokers.length, 1)
    await admin.deleteTopics({ topics: [topic] })
    await eventually(20000, 'the topic is gone', async () => !(await admin.listTopics()).includes(topic))
    return 'create, refuse twice, grow, describe, delete records, delete'
  })
}

const cases = {
  'flights-keyed': flightsKeyed,
  idempotent,
  'group-rebalance': groupRebalance,
  admin
}
for (const name of Object.keys(compressions)) {
  cases['codec-' + name] = () => codec(name)
  cases['flights-' + name] = () => flights(name)
}

async function main () {
  let failed = false
  for (const name of names) {
    const start = Date.now()
    let status = 'ok'
    let detail
    try {
      detail = await cases[name]()
    } catch (e) {
      console.error(e)
      failed = true
      status = 'fail'
      detail = String(e)
    }
    console.log('CASE', name, status, Date.now() - start, detail.replaceAll('\n', ' '))
  }
  process.exit(failed ? 1 : 0)
}

main()
