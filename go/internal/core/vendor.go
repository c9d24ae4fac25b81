//go:build wscengine_vendor

package core

// The folders of the C sources, so that `go mod vendor` keeps them.
import (
	_ "github.com/wscengine/wscengine/core/include"
	_ "github.com/wscengine/wscengine/core/include/wscengine"
	_ "github.com/wscengine/wscengine/core/src"
)
