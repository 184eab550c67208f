package model

// Attachment is a VolumeAttachment: a PersistentVolume that is attached to a
// node, or about to be.
type Attachment struct {
	Name     string
	UID      string
	Node     string // spec.nodeName
	Volume   string // spec.source.persistentVolumeName
	Attached bool   // status.attached
}

// ClaimKey names a PersistentVolumeClaim.
type ClaimKey struct{ Namespace, Name string }

func (k ClaimKey) String() string { return k.Namespace + "/" + k.Name }

// Claim is a PersistentVolumeClaim, trimmed to what ties pods to volumes.
type Claim struct {
	ClaimKey
	UID    string
	Volume string // spec.volumeName; empty: not bound
	// Shared: its access modes let pods on several nodes use it at once.
	Shared bool
}
