package main

import (
	"os"
	"runtime/debug"
)

// memoryLimit is what the heap may grow to before the collector works harder:
// a cluster of 5,000 nodes and 150,000 pods takes half of it. It is soft; more
// is taken where more is in use.
const memoryLimit = 224 << 20

// collectAfter lets the heap triple before it is collected, as long as it is
// far from the limit: the lists of a large cluster are garbage, nearly all.
const collectAfter = 200

// limitMemory applies the limits that a person has not set by GOMEMLIMIT and
// GOGC.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAfter)
	}
}
