// A server with npm's socket.io, which acknowledges each "say" with what was
// said, in the main namespace and in /admin, whose clients must name a token.
'use strict';
const { Server } = require('socket.io');
const calls = require('./together.js');

const together = calls.together();
const gate = calls.gate();

// answer has the server answer a client.
function answer(client) {
  let pongs = 0;
  client.conn.on('packet', ({ type }) => {
    if (type === 'pong') pongs++;
  });
  client.on('say', (text, acknowledge) => acknowledge(text));
  client.on('together', (n, text, acknowledge) => together(n).then(() => acknowledge(text)));
  client.on('hold', (text, acknowledge) => gate.hold().then(() => acknowledge(text)));
  client.on('held', (acknowledge) => acknowledge(gate.held()));
  client.on('open', (acknowledge) => acknowledge(gate.open()));
  client.on('pongs', (acknowledge) => acknowledge(pongs));
  client.on('ask me', (n, acknowledge) => client.emit('double', n, (twice) => acknowledge(n, twice)));
  client.on('tell me', (n, acknowledge) => {
    for (let i = 1; i <= n; i++) client.emit('told', i);
    acknowledge();
  });
  client.on('bytes', (acknowledge) => acknowledge(Buffer.from('bytes')));
}

require('./serve.js')({
  start(listener, arrive, leave) {
    const io = new Server(listener, { transports: ['websocket'], pingInterval: 200, pingTimeout: 60000, serveClient: false });
    io.of('/admin').use((client, next) => {
      next(client.handshake.auth.token === 'let me in' ? undefined : new Error('not you'));
    });
    io.of('/admin').on('connection', answer);
    io.on('connection', (client) => {
      answer(client);
      client.on('disconnect', () => leave(client));
      arrive(client);
    });
  },
  bye: (client) => client.disconnect(true),
});
