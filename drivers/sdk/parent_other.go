//go:build !unix

package sdk

// closeOnExec does nothing: file descriptors are not inherited by number here.
func closeOnExec(int) {}
