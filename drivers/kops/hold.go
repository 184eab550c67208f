package kops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"k8s.io/kops/util/pkg/vfs"
	"k8s.io/kops/util/pkg/vfs/acls"

	"github.com/rotatord/rotator/drivers/sdk"
)

// holdRecord is a file of the cluster's state store,
// CLUSTER/backups/rotatord/GROUP.json: which rotation holds a group, and what
// Prepare found there. It is not a tag of the cloud's group, because `kops
// update cluster` removes tags that are not in its specification; and it is
// below backups/, because `kops delete cluster` refuses folders that it does
// not know.
//
// State stores have no compare-and-swap on every cloud: the record protects
// against our own crashes, not against a second rotation at the same moment
// (that is the core's lock).
type holdRecord struct {
	Version  int       `json:"version"` // of this format: holdVersion
	Rotation string    `json:"rotation"`
	Group    string    `json:"group"`
	At       time.Time `json:"at"`
	// ResumeAZRebalance: Prepare suspended the process, and Restore resumes it.
	// Absent where somebody else had suspended it, or the cloud has no such thing.
	ResumeAZRebalance bool `json:"resumeAZRebalance,omitempty"`
}

const (
	holdVersion = 1
	holdFolder  = "backups/rotatord"
	holdSuffix  = ".json"
)

// rotationID is what may stand in a record.
var rotationID = regexp.MustCompile(`^[A-Za-z0-9._:/@+-]{1,64}$`)

func (s *spec) holdPath(group string) vfs.Path { return s.base.Join(holdFolder, group+holdSuffix) }

// readHold reads a group's record; nil: there is none.
func (s *spec) readHold(ctx context.Context, group string) (*holdRecord, error) {
	data, err := s.holdPath(group).ReadFile(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseHold(data, group)
}

// errUnreadable says that a record is there and cannot be understood.
type errUnreadable struct{ cause error }

func (e *errUnreadable) Error() string { return e.cause.Error() }
func (e *errUnreadable) Unwrap() error { return e.cause }

func parseHold(data []byte, group string) (*holdRecord, error) {
	var r holdRecord
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields() // a record of a later version must not be half understood
	err := dec.Decode(&r)
	switch {
	case err != nil:
	case r.Version != holdVersion:
		err = fmt.Errorf("its version is %d, not %d", r.Version, holdVersion)
	case r.Group != group:
		err = fmt.Errorf("it is of group %q", r.Group)
	case !rotationID.MatchString(r.Rotation):
		err = fmt.Errorf("%q is no rotation id", r.Rotation)
	}
	if err != nil {
		return nil, &errUnreadable{err}
	}
	return &r, nil
}

// readHolds reads the records of all groups. Those that cannot be understood
// are answered apart, by group.
func (s *spec) readHolds(ctx context.Context) (map[string]*holdRecord, map[string]error, error) {
	paths, err := s.base.Join(holdFolder).ReadDir()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	holds, bad := map[string]*holdRecord{}, map[string]error{}
	for _, p := range paths {
		group, ok := strings.CutSuffix(p.Base(), holdSuffix)
		if !ok {
			continue
		}
		r, err := s.readHold(ctx, group)
		switch unreadable := (*errUnreadable)(nil); {
		case errors.As(err, &unreadable):
			bad[group] = err
		case err != nil:
			return nil, nil, err
		case r != nil: // nil: removed meanwhile
			holds[group] = r
		}
	}
	return holds, bad, nil
}

// createHold writes a record where there is none. fs.ErrExist: there is one.
func (s *spec) createHold(ctx context.Context, r *holdRecord) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := s.holdPath(r.Group)
	acl, err := acls.GetACL(ctx, path, s.cluster)
	if err != nil {
		return err
	}
	return path.CreateFile(ctx, bytes.NewReader(append(data, '\n')), acl)
}

// dropHold removes a record; one that is not there is no error.
func (s *spec) dropHold(ctx context.Context, group string) error {
	if err := s.holdPath(group).Remove(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// checkHolder answers ABORTED when another rotation than this holds the group.
func (r *holdRecord) checkHolder(path vfs.Path, rotation string) error {
	if r == nil || r.Rotation == rotation {
		return nil
	}
	return sdk.Errorf(codes.Aborted, "group %s is held by rotation %s: let it finish, or resume or abort it; if it is gone for good, remove %s", r.Group, r.Rotation, path.Path())
}

func unreadableDiagnostic(group string, path vfs.Path, err error) sdk.Diagnostic {
	return finding(sdk.SeverityError, "record-unreadable", group,
		fmt.Sprintf("%s: %s. A later rotator wrote it, or somebody edited it. Use that rotator, or put the group's settings right by hand and remove the file.", path.Path(), cause(err)),
		"the record of a rotation on instance group %s cannot be read", group)
}
