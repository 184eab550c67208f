package host

import (
	"fmt"
	"os"
)

// pathOfDescriptor is a path by which a child executes what its file
// descriptor fd refers to. Without /proc there is none, and the child is run by
// the path of its file, which somebody with this user's rights may have
// replaced since it was checked.
func pathOfDescriptor(fd int) (string, bool) {
	_, err := os.Stat("/proc/self/fd")
	return fmt.Sprintf("/proc/self/fd/%d", fd), err == nil
}
