module github.com/wscengine/wscengine/tests/abi/go

go 1.24

require github.com/coder/websocket v1.8.15
