// Preloaded into the conformance suite, which has no option for headers: puts the bearer from
// MCP_TOKEN on every HTTP request that does not carry an Authorization header of its own.
// The suite talks through fetch and undici (one diagnostics channel) and through node:http.
// undici speaks up for the copy that Node bundles and for the copy in node_modules alike.
'use strict';

const { subscribe } = require('node:diagnostics_channel');

const { MCP_TOKEN } = process.env;
if (!MCP_TOKEN) throw new Error('MCP_TOKEN is not set');
const bearer = `Bearer ${MCP_TOKEN}`;

function hasAuthorization(headers) {
  const names = Array.isArray(headers)
    ? headers.filter((_, index) => index % 2 === 0)
    : String(headers ?? '').split('\r\n').map((line) => line.split(':')[0]);
  return names.some((name) => String(name).toLowerCase() === 'authorization');
}

subscribe('undici:request:create', ({ request }) => {
  if (!hasAuthorization(request.headers)) request.addHeader('authorization', bearer);
});

subscribe('http.client.request.created', ({ request }) => {
  if (!request.hasHeader('authorization')) request.setHeader('authorization', bearer);
});
