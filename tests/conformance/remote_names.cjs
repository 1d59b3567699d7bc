// Preloaded into the conformance suite beside inject_auth.cjs: the suite calls tools and prompts by
// fixed names, but behind the gateway those of a remote server have its prefix. MCP_NAMES maps the
// one to the other; in requests with a name of the map it is put into the body and into Mcp-Name.
'use strict';

const names = new Map(Object.entries(JSON.parse(process.env.MCP_NAMES)));
const send = globalThis.fetch;

function renamed(init) {
  const body = init?.body;
  if (typeof body !== 'string' || ![...names.keys()].some((known) => body.includes(known))) return init;
  const message = JSON.parse(body);
  const name = names.get(message.params?.name);
  if (name === undefined) return init;
  const headers = new Headers(init.headers);
  if (headers.has('mcp-name')) headers.set('mcp-name', name);
  return { ...init, headers, body: JSON.stringify({ ...message, params: { ...message.params, name } }) };
}

globalThis.fetch = (url, init) => send(url, renamed(init));
