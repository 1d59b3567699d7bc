// Preloaded into servers that would listen on all addresses: they get the inherited socket instead.
import { Server } from 'node:net';

const { listen } = Server.prototype;
const fd = Number(process.env.FOREIGN_LISTEN_FD);

Server.prototype.listen = function (...options) {
  return listen.call(this, { fd }, options.find((option) => typeof option === 'function'));
};
