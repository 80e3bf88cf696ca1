// A server with npm's graphql-ws: one query that echoes, and one subscription
// that counts. It pings its clients with messages, as the protocol allows.
'use strict';
const { WebSocketServer } = require('ws');
const { useServer } = require('graphql-ws/use/ws');
const { buildSchema } = require('graphql');

const schema = buildSchema(`
  type Query { say(text: String!): String! }
  type Subscription { count(to: Int!): Int! }
`);
const roots = {
  query: { say: ({ text }) => text },
  subscription: {
    async *count({ to }) {
      for (let n = 1; n <= to; n++) yield { count: n };
    },
  },
};

require('./serve.js')({
  start(listener, arrive, leave) {
    const server = new WebSocketServer({ server: listener, path: '/graphql' });
    server.on('connection', (client) => {
      client.on('error', () => {});
      client.on('close', () => leave(client));
      arrive(client);
    });
    useServer({
      schema,
      roots,
      onConnect(context) {
        const { socket } = context.extra;
        const timer = setInterval(() => {
          if (context.acknowledged && socket.readyState === 1) socket.send('{"type":"ping"}');
        }, 200);
        socket.on('close', () => clearInterval(timer));
        return context.connectionParams?.token === 'let me in';
      },
    }, server);
  },
  bye: (client) => client.close(1001, 'going away'),
});
