//go:build !wscengine_system

package core

// #cgo CFLAGS: -std=gnu11 -O2 -fvisibility=hidden -I${SRCDIR}/../../../core/include -I${SRCDIR}/../../../core/src
// #cgo LDFLAGS: -lssl -lcrypto -lwslay -lz -lpthread
import "C"
