// Command rotatord-driver-eks is the EKS driver as a plugin: rotatord starts
// it. Started by hand it says so and ends.
package main

import (
	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
)

func main() { sdk.Serve(eks.New()) }
