package sdk

import "github.com/hashicorp/go-plugin"

// ProtocolVersion is the version of the driver protocol that this SDK speaks:
// package rotator.driver.v1 of driver.proto.
const ProtocolVersion = 1

// PluginName is the name of the driver in go-plugin's plugin set.
const PluginName = "driver"

// ExecutablePrefix begins the file name of a driver's executable; the name of
// the driver follows.
const ExecutablePrefix = "rotatord-driver-"

// Handshake is shared by host and driver. It protects against running a driver
// by hand, and nothing else: the two authenticate each other by mutual TLS.
var Handshake = plugin.HandshakeConfig{
	MagicCookieKey:   "ROTATOR_DRIVER_COOKIE",
	MagicCookieValue: "1b8b9a0e-rotator-driver",
}

// Variables that the host sets for its drivers.
const (
	// EnvHostPipe is the number of a file descriptor: the read end of a pipe
	// whose write end only the host holds. Its end of file means that the host
	// is gone, however it died, and that the driver must exit.
	EnvHostPipe = "ROTATOR_HOST_PIPE"
	// EnvLogLevel is the least level that the host will show: trace, debug,
	// info, warn, error or off.
	EnvLogLevel = "ROTATOR_DRIVER_LOG_LEVEL"
)

// MaxMessageBytes limits one message, at both ends. Pages of a snapshot stay
// far below gRPC's own default of 4 MiB; the limit is raised for single
// messages that a group of thousands of instances makes long.
const MaxMessageBytes = 64 << 20
