//go:build wscengine_system

package core

// #cgo pkg-config: wscengine
import "C"
