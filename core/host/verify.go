package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// verify opens an executable, checks it and closes it again. nil: it is
// trusted. The error is an *Error.
func verify(path, sum string) error {
	f, err := openVerified(path, sum)
	if err != nil {
		return err
	}
	return f.Close()
}

// openVerified opens an executable and refuses it unless it is a regular file
// that this user may execute, that neither its group nor others can write, and
// whose folder others cannot write (a sticky folder is good enough for a file
// of one's own or of root). With sum, in hex, its SHA-256 must be that.
//
// The content that is hashed is the content of the returned file. Not covered:
// who owns the folders further up, access control lists, somebody with the
// rights of this user or of root who writes into the same file after the hash,
// and the shared libraries or interpreter that the file asks for.
func openVerified(path, sum string) (*os.File, error) {
	reject := func(cause error, fix, format string, args ...any) error {
		return &Error{Code: CodeRejected, Message: "driver " + path + " is refused: " + fmt.Sprintf(format, args...), Fix: fix, Err: cause}
	}
	// A link is as trustworthy as the folder it is in, and as what it points to.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, &Error{Code: CodeMissing, Message: fmt.Sprintf("driver %s does not exist", path), Fix: "check the path", Err: err}
		}
		return nil, reject(err, "", "%v", err)
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(real)} {
		info, err := os.Stat(dir)
		if err != nil {
			return nil, reject(err, "", "%v", err)
		}
		if err := checkFolder(info); err != nil {
			return nil, reject(err, "chmod o-w "+dir, "folder %s: %v", dir, err)
		}
	}
	f, err := os.Open(real)
	if err != nil {
		return nil, reject(err, "", "%v", err)
	}
	if err := checkOpened(f, filepath.Dir(real), sum, reject); err != nil {
		_ = f.Close() // opened for reading: nothing to lose
		return nil, err
	}
	return f, nil
}

func checkOpened(f *os.File, dir, sum string, reject func(error, string, string, ...any) error) error {
	info, err := f.Stat()
	if err != nil {
		return reject(err, "", "%v", err)
	}
	if !info.Mode().IsRegular() {
		return reject(nil, "", "it is not a regular file (%v)", info.Mode())
	}
	if fix, err := checkFile(f.Name(), info); err != nil {
		return reject(err, fix, "%v", err)
	}
	folder, err := os.Stat(dir)
	if err != nil {
		return reject(err, "", "%v", err)
	}
	if err := checkOwner(folder, info); err != nil {
		return reject(err, "install it in a folder of your own", "%v", err)
	}
	if sum == "" {
		return nil
	}
	want, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(sum)), "sha256:"))
	if err != nil || len(want) != sha256.Size {
		return reject(err, "give 64 hex digits, as sha256sum prints them", "the configured sha256 %q is not one", sum)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return reject(err, "", "read it: %v", err)
	}
	if got := h.Sum(nil); string(got) != string(want) {
		return reject(nil, "install the expected release, or correct the configured sha256",
			"its sha256 is %x, the configured one is %x", got, want)
	}
	return nil
}
