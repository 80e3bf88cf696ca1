// A server with npm's socket.io, which acknowledges each "say" with what was
// said.
'use strict';
const { Server } = require('socket.io');

require('./serve.js')({
  start(listener, arrive, leave) {
    const io = new Server(listener, { transports: ['websocket'], pingInterval: 200, pingTimeout: 60000, serveClient: false });
    io.on('connection', (client) => {
      client.on('say', (text, acknowledge) => acknowledge(text));
      client.on('disconnect', () => leave(client));
      arrive(client);
    });
  },
  bye: (client) => client.disconnect(true),
});
