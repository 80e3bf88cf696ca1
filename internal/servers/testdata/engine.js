// A server with npm's engine.io, which echoes messages and pings its clients
// with messages of its own protocol.
'use strict';
const { Server } = require('engine.io');

require('./serve.js')({
  start(listener, arrive, leave) {
    const engine = new Server({ transports: ['websocket'], pingInterval: 200, pingTimeout: 60000 });
    engine.attach(listener);
    engine.on('connection', (client) => {
      client.on('message', (data) => client.send(data));
      client.on('close', () => leave(client));
      arrive(client);
    });
  },
  bye: (client) => client.close(),
});
