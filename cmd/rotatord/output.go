package main

import "io"

// checkedWriter remembers the first write that failed: what goes to stdout is data,
// and a command that could not give all of it has not done its work, whoever looks
// at the errors of its single writes.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}
