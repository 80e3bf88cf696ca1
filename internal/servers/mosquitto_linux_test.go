package servers

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/wspool"
)

// mosquitto is an MQTT broker; over WebSocket it uses binary messages.
var mosquitto = brand{start: startMosquitto, reach: reachMosquitto, ask: askMosquitto}

func TestMosquitto(t *testing.T) { signalled(t, mosquitto) }

func startMosquitto(t testing.TB, addr string) running {
	t.Helper()
	program := debian(t, "/usr/sbin/mosquitto")
	if strings.HasSuffix(addr, ":0") {
		addr = unusedPort(t)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	// It does not start without a listener for plain MQTT.
	dir := t.TempDir()
	conf := configured(t, dir, "mosquitto.conf", "user root\nallow_anonymous true\npersistence false\nlistener 0 "+dir+
		"/plain\nlistener "+port+"\nprotocol websockets\n")
	return startDaemon(t, addr, program, "-c", conf)
}

// The MQTT 3.1.1 packets used by the test: type and flags.
const (
	mqttConnect     = 0x10
	mqttConnack     = 0x20
	mqttPublish     = 0x30 // at most once
	mqttSubscribe   = 0x82
	mqttSuback      = 0x90
	mqttUnsubscribe = 0xA2
	mqttUnsuback    = 0xB0
	mqttPingreq     = 0xC0
	mqttPingresp    = 0xD0
)

// mqttPacket returns a packet.
func mqttPacket(kind byte, body ...[]byte) []byte {
	rest := bytes.Join(body, nil)
	// The length encoding of MQTT is the varint of package binary.
	return append(binary.AppendUvarint([]byte{kind}, uint64(len(rest))), rest...)
}

// mqttText returns a length-prefixed text.
func mqttText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// cutPacket splits off the first packet; ok is false if it is incomplete.
func cutPacket(stream []byte) (packet, rest []byte, ok bool) {
	if len(stream) < 2 {
		return nil, stream, false
	}
	length, n := binary.Uvarint(stream[1:])
	if n <= 0 || uint64(len(stream)-1-n) < length {
		return nil, stream, false
	}
	end := 1 + n + int(length)
	return stream[:end], stream[end:], true
}

// expectPackets reads exactly these packets. MQTT is a stream that may be split into
// messages anywhere.
func expectPackets(ctx context.Context, c *wspool.Conn, want ...[]byte) error {
	var stream []byte
	for _, w := range want {
		packet, rest, ok := cutPacket(stream)
		for !ok {
			kind, p, err := c.ReadMessage(ctx)
			if err != nil {
				return err
			}
			if kind != websocket.BinaryMessage {
				return fmt.Errorf("%w: a text message of %q", errCrossed, p)
			}
			packet, rest, ok = cutPacket(append(stream, p...))
			if !ok {
				stream = append(stream, p...)
			}
		}
		if !bytes.Equal(packet, w) {
			return fmt.Errorf("%w: got packet %q, want %q", errCrossed, packet, w)
		}
		stream = rest
	}
	if len(stream) > 0 {
		return fmt.Errorf("%w: got %q behind the answer", errCrossed, stream)
	}
	return nil
}

// keepAliveMQTT is the keep-alive in seconds; the broker tolerates 1.5 times as much.
const keepAliveMQTT = 4

func reachMosquitto(cfg *wspool.Config) {
	cfg.Subprotocols = []string{"mqtt"}
	cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		const clean = 2
		hello := mqttPacket(mqttConnect, mqttText("MQTT"), []byte{4, clean, 0, keepAliveMQTT}, mqttText(""))
		if err := c.WriteMessage(ctx, websocket.BinaryMessage, hello); err != nil {
			return err
		}
		return expectPackets(ctx, c, []byte{mqttConnack, 2, 0, 0})
	}
}

// askMosquitto publishes to a unique topic and checks that it receives the publication. A
// question is three packets in one message.
func askMosquitto(ctx context.Context, c *wspool.Conn, id int64) error {
	topic, number := "id/"+strconv.FormatInt(id, 10), binary.BigEndian.AppendUint16(nil, uint16(id%65535+1))
	publish := mqttPacket(mqttPublish, mqttText(topic), []byte(padded(id)))
	question := bytes.Join([][]byte{
		mqttPacket(mqttSubscribe, number, mqttText(topic), []byte{0}),
		publish,
		mqttPacket(mqttUnsubscribe, number, mqttText(topic)),
	}, nil)
	if err := c.WriteMessage(ctx, websocket.BinaryMessage, question); err != nil {
		return err
	}
	return expectPackets(ctx, c, mqttPacket(mqttSuback, number, []byte{0}), publish, mqttPacket(mqttUnsuback, number))
}

// pingMosquitto keeps a client signed in.
func pingMosquitto(ctx context.Context, c *wspool.Conn) error {
	if err := c.WriteMessage(ctx, websocket.BinaryMessage, mqttPacket(mqttPingreq)); err != nil {
		return err
	}
	return expectPackets(ctx, c, mqttPacket(mqttPingresp))
}

// TestMosquittoIdle keeps clients signed in by a health check that pings the broker, which
// disconnects other clients that are as silent.
func TestMosquittoIdle(t *testing.T) {
	t.Parallel()
	const conns = 4
	s := startMosquitto(t, "127.0.0.1:0")
	cfg := wspool.Config{URL: "ws://" + s.address() + "/", MaxSize: conns}
	reachMosquitto(&cfg)
	cut := newPool(t, cfg)
	cfg.SweepInterval = 500 * time.Millisecond
	cfg.Health = policy.Check(pingMosquitto)
	kept := newPool(t, cfg)
	warm(t, kept, conns)
	warm(t, cut, conns)
	until(t, "the broker disconnects no client", func() bool { return cut.Stats().Destroyed >= conns })
	if s := kept.Stats(); s.Made != conns || s.Destroyed != 0 {
		t.Errorf("kept: %v", s)
	}
	for id := range int64(conns) {
		served(t, kept, func(ctx context.Context, c *wspool.Conn) error { return askMosquitto(ctx, c, id) })
		served(t, cut, func(ctx context.Context, c *wspool.Conn) error { return askMosquitto(ctx, c, id) })
	}
	closePool(t, kept)
	closePool(t, cut)
}
