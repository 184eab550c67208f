// Package runtime runs the engine: it makes its records durable, performs its
// effects through the ports that it declares, and feeds back what happened. It
// decides nothing.
package runtime
