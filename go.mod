module github.com/wscengine/wscengine

go 1.24
