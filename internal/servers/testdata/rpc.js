// A server with npm's rpc-websockets, whose methods say what they were told, at
// once or when others let them, and which fails when it is asked to.
'use strict';
const { Server } = require('rpc-websockets');
const calls = require('./together.js');

const together = calls.together();
const gate = calls.gate();
let noted = [];

require('./serve.js')({
  start(listener, arrive, leave) {
    const server = new Server({ server: listener });
    server.register('say', ([text]) => text);
    server.register('fail', () => {
      throw new Error('asked to');
    });
    server.register('together', ([n, text]) => together(n).then(() => text));
    server.register('hold', ([text]) => gate.hold().then(() => text));
    server.register('held', () => gate.held());
    server.register('open', () => gate.open());
    server.register('named', ({ text }) => text);
    server.register('note', ([text]) => noted.push(text));
    server.register('noted', () => noted.splice(0));
    server.event('news');
    server.register('publish', ([text]) => server.emit('news', text));
    server.on('connection', (client) => {
      client.on('close', () => leave(client));
      arrive(client);
    });
  },
  bye: (client) => client.close(1001, 'going away'),
});
