// Rotatord-driver-example carries the example driver. Rotatord starts it; run
// by hand it explains itself and exits.
package main

import (
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/plugins/example"
)

func main() { sdk.Serve(&example.Driver{}) }
