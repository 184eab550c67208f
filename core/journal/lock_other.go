//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package journal

import "os"

// lock does nothing where the system has no flock: there, only the rotation's
// id keeps two writers apart.
func lock(*os.File) error { return nil }
