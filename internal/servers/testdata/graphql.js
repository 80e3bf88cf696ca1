// A server with npm's graphql-ws: queries that echo, at once or when others
// let them, mutations, and subscriptions that count. It pings its clients with
// messages, as the protocol allows.
'use strict';
const { WebSocketServer } = require('ws');
const { useServer } = require('graphql-ws/use/ws');
const { buildSchema } = require('graphql');
const calls = require('./together.js');

const together = calls.together();
const gate = calls.gate();
let total = 0;
let pongs = 0;
let ticking = 0;

const schema = buildSchema(`
  type Query {
    say(text: String!): String!
    together(n: Int!, text: String!): String!
    hold(text: String!): String!
    held: Int!
    fail(text: String!): String
    pongs: Int!
    ticking: Int!
  }
  type Mutation {
    add(n: Int!): Int!
    open: Int!
  }
  type Subscription {
    count(to: Int!): Int!
    tick: Int!
  }
`);
const roots = {
  query: {
    say: ({ text }) => text,
    together: ({ n, text }) => together(n).then(() => text),
    hold: ({ text }) => gate.hold().then(() => text),
    held: () => gate.held(),
    fail({ text }) {
      throw new Error(text);
    },
    pongs: () => pongs,
    ticking: () => ticking,
  },
  mutation: {
    add: ({ n }) => (total += n),
    open: () => gate.open(),
  },
  subscription: {
    async *count({ to }) {
      for (let n = 1; n <= to; n++) yield { count: n };
    },
    async *tick() {
      ticking++;
      try {
        for (let n = 1; ; n++) {
          yield { tick: n };
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      } finally {
        ticking--;
      }
    },
  },
};

require('./serve.js')({
  start(listener, arrive, leave) {
    const server = new WebSocketServer({ server: listener, path: '/graphql' });
    server.on('connection', (client) => {
      client.on('error', () => {});
      client.on('close', () => leave(client));
      client.on('message', (data) => {
        if (JSON.parse(data).type === 'pong') pongs++;
      });
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
