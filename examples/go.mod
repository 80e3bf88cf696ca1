module github.com/respool/respool/examples

go 1.25.0

require (
	github.com/gorilla/websocket v1.5.3
	github.com/respool/respool v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	golang.org/x/sync v0.22.0 // indirect
)

replace github.com/respool/respool => ../
