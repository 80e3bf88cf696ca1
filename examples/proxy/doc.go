// Package proxy shows WebSocket connections through an HTTP proxy that the environment
// names. It consists of a tested example.
package proxy
