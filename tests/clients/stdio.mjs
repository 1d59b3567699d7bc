// Both TypeScript SDKs over stdio. `sdk` is "v1" or "v2"; `server` is what they start:
// {"command", "args", "env"}.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { Client as ClientV2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as TransportV2 } from '@modelcontextprotocol/client/stdio';

import { main, withClient } from './job.mjs';

async function connect(_, { sdk, era, server }) {
  const about = { name: `scaimcp-tests-stdio-${sdk}`, version: '1.0.0' };
  if (sdk === 'v1') {
    const client = new ClientV1(about);
    await client.connect(new TransportV1(server));
    return client;
  }
  const named = era === 'legacy' || era === 'auto';
  const client = new ClientV2(about, { versionNegotiation: { mode: named ? era : { pin: era } } });
  await client.connect(new TransportV2(server));
  return client;
}

await main(withClient(connect, (client) => client.getNegotiatedProtocolVersion?.() ?? null));
