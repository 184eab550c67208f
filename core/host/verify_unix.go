//go:build unix

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkFolder refuses a folder in which everybody can replace files.
func checkFolder(info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("everybody can write to it (mode %v)", info.Mode())
	}
	return nil
}

// checkFile refuses a file that somebody else can change, or has put into a
// folder where everybody may put files. It returns what to do about it.
func checkFile(path string, info fs.FileInfo) (fix string, err error) {
	if info.Mode().Perm()&0o022 != 0 {
		return "chmod go-w " + path, fmt.Errorf("its group or everybody can write to it (mode %v)", info.Mode())
	}
	if info.Mode().Perm()&0o111 == 0 {
		return "chmod +x " + path, fmt.Errorf("it is not executable (mode %v)", info.Mode())
	}
	return "", nil
}

// checkOwner refuses a file of somebody else in a folder where everybody may
// put files: there the sticky bit protects only what one owns.
func checkOwner(folder, file fs.FileInfo) error {
	if folder.Mode().Perm()&0o002 == 0 {
		return nil
	}
	st, ok := file.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be read")
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d, in a folder where everybody can put files", st.Uid)
	}
	return nil
}
