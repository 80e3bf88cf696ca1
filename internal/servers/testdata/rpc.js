// A server with npm's rpc-websockets, whose one method says what it was told,
// and which fails when it is asked to.
'use strict';
const { Server } = require('rpc-websockets');

require('./serve.js')({
  start(listener, arrive, leave) {
    const server = new Server({ server: listener });
    server.register('say', ([text]) => text);
    server.register('fail', () => {
      throw new Error('asked to');
    });
    server.on('connection', (client) => {
      client.on('close', () => leave(client));
      arrive(client);
    });
  },
  bye: (client) => client.close(1001, 'going away'),
});
