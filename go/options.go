package wscengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/go-playground/validator/v10"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
)

// What GiveUpOn is a sum of; without them these causes are retried at the longest delay.
const (
	// GiveUpOnRefused: an HTTP answer that waiting hardly mends: 2xx, 3xx, 4xx but 408, 425 and 429.
	GiveUpOnRefused int64 = 1
	// GiveUpOnUpgrade: a 101 that is malformed or that nobody asked for.
	GiveUpOnUpgrade int64 = 2
	// GiveUpOnTLSTrust: a certificate that is not trusted or not for this host.
	GiveUpOnTLSTrust int64 = 4
	// GiveUpOnResolve: a host name that does not exist.
	GiveUpOnResolve int64 = 8
)

// NewWebsocketEngineConfigurationOptions makes options with the defaults: 4 readers, automatic reconnects after 5^0 and then 5^1 seconds, five
// minutes for OnOpen and for Stop, and of everything else what the fields say.
func NewWebsocketEngineConfigurationOptions() *WebsocketEngineConfigurationOptions {
	return &WebsocketEngineConfigurationOptions{
		ReaderRoutinesCount:                4,
		AutoReconnect:                      true,
		AutoReconnectRetryDelayBaseSeconds: 5,
		AutoReconnectRetryDelayMaxExponent: 1,
		OnOpenTimeoutMs:                    300000,
		StopTimeoutMs:                      300000,
	}
}

var validate = validator.New(validator.WithRequiredStructEnabled())

// Validate judges options. The error is a validator.ValidationErrors with every field that is out of its limits, its value and the limit, or a
// *validator.InvalidValidationError for nil.
func Validate(opts *WebsocketEngineConfigurationOptions) error {
	err := validate.Struct(opts)
	var fields validator.ValidationErrors
	if errors.As(err, &fields) {
		for i, f := range fields {
			fields[i] = fieldError{f}
		}
	}
	return err
}

// fieldError says more than the validator does.
type fieldError struct{ validator.FieldError }

func (f fieldError) Error() string {
	relations := map[string]string{"gte": "at least", "lte": "at most"}
	return fmt.Sprintf("%s: it is %v and must be %s %s", f.FieldError.Error(), f.Value(), relations[f.Tag()], f.Param())
}

// choices are what an engine keeps of its options: those that the library takes, and those that are Go's business too.
type choices struct {
	settings                   *core.Settings
	openTimeoutMs, queueBytes  int64
	stopWithContext, sendWaits bool
	logger                     *slog.Logger
}

func (o *WebsocketEngineConfigurationOptions) choices() choices {
	s := &core.Settings{}
	o.apply(s)
	if o.Logger != nil && o.LogLevel == 0 {
		s.Int(abi.OptionIdLogLevel, enabledLevel(o.Logger))
	}
	return choices{
		settings:        s,
		openTimeoutMs:   o.OnOpenTimeoutMs,
		queueBytes:      o.ReceiveQueueBytes,
		stopWithContext: o.StopWhenStartContextEnds,
		sendWaits:       o.SendWaitsForSession,
		logger:          o.Logger,
	}
}

func number(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

// levelTrace is below slog's own levels: each frame.
const levelTrace = slog.LevelDebug - 4

var levels = map[int]slog.Level{
	abi.LogLevelError:   slog.LevelError,
	abi.LogLevelWarning: slog.LevelWarn,
	abi.LogLevelInfo:    slog.LevelInfo,
	abi.LogLevelDebug:   slog.LevelDebug,
	abi.LogLevelTrace:   levelTrace,
}

// enabledLevel is the most that a logger would print.
func enabledLevel(l *slog.Logger) int64 {
	for level := abi.LogLevelTrace; level >= abi.LogLevelError; level-- {
		if l.Enabled(context.Background(), levels[level]) {
			return int64(level)
		}
	}
	return 0
}
