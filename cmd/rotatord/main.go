// Command rotatord replaces the nodes of a Kubernetes cluster through a driver
// of its provider. It wires package core and renders what comes out; it decides
// nothing.
package main

import (
	"context"
	"os"
	_ "time/tzdata" // windows have time zones, and small images do not
)

func main() {
	limitMemory()
	a := &app{
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		signals: stopSignals(),
		exit:    os.Exit,
		outlive: outliveReaders,
		backend: coreBackend{},
		self:    startSelf,
	}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}
