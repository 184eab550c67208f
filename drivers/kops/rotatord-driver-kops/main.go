// Command rotatord-driver-kops is the kops driver as a plugin: rotatord starts
// it. Started by hand it says so and ends.
package main

import (
	"github.com/rotatord/rotator/drivers/kops"
	"github.com/rotatord/rotator/drivers/sdk"
)

func main() {
	kops.QuietLibrary()
	sdk.Serve(kops.New())
}
