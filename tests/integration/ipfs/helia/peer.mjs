// A Helia node inside a process: reads one JSON call a line, answers one JSON line. It listens on loopback TCP alone.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { bitswap } from '@helia/block-brokers'
import { globSource, unixfs } from '@helia/unixfs'
import { Helia } from '@helia/utils'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { MemoryBlockstore } from 'blockstore-core'
import { MemoryDatastore } from 'datastore-core'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import { multiaddr } from '@multiformats/multiaddr'

// libp2p 3 calls this function of ES2024, which Node.js 20 has not got.
Promise.withResolvers ??= function () {
  const settle = {}
  settle.promise = new this((resolve, reject) => Object.assign(settle, { resolve, reject }))
  return settle
}

const datastore = new MemoryDatastore()
const libp2p = await createLibp2p({
  start: false,
  datastore,
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() }
})
const helia = new Helia({
  libp2p,
  datastore,
  blockstore: new MemoryBlockstore(),
  blockBrokers: [bitswap()],
  routers: []
})
const files = unixfs(helia)

async function download (cid, path) {
  const { type } = await files.stat(cid)
  if (type !== 'directory') {
    const chunks = []
    for await (const chunk of files.cat(cid)) chunks.push(chunk)
    await writeFile(path, Buffer.concat(chunks))
    return
  }
  await mkdir(path)
  for await (const entry of files.ls(cid)) await download(entry.cid, join(path, entry.name))
}

const calls = {
  async connect (address) {
    await libp2p.dial(multiaddr(address))
  },
  async add (directory) {
    let root
    for await (const entry of files.addAll(globSource(directory, '**/*'), { wrapWithDirectory: true })) root = entry.cid
    return root.toString()
  },
  async download (cid, path) {
    await download(CID.parse(cid), path)
  }
}

function tell (answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}

await helia.start()
tell({ result: libp2p.getMultiaddrs().map(String) })
const lines = createInterface({ input: process.stdin })
// Also in the middle of a call that never ends: whoever asks is gone.
lines.on('close', () => process.exit(0))
for await (const line of lines) {
  const [name, ...args] = JSON.parse(line)
  try {
    tell({ result: (await calls[name](...args)) ?? null })
  } catch (error) {
    tell({ error: String(error.stack) })
  }
}
