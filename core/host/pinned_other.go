//go:build !linux

package host

// pathOfDescriptor knows no path by which a child could execute a file
// descriptor here: it is run by the path of its file, which somebody with this
// user's rights may have replaced since it was checked.
func pathOfDescriptor(int) (string, bool) { return "", false }
