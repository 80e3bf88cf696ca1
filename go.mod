module github.com/respool/respool

go 1.25.0

require (
	github.com/cenkalti/backoff/v5 v5.0.3
	github.com/gorilla/websocket v1.5.3
	github.com/jackc/puddle/v2 v2.2.3
	go.uber.org/goleak v1.3.0
	golang.org/x/net v0.54.0
)

require golang.org/x/sync v0.22.0 // indirect
