// Package journal keeps the durable events of rotations, behind one Store: in
// the cluster itself (Cluster), which outlives the machine that rotatord runs
// on, or in a local folder (Folder).
//
// # Records
//
// Both hold the same bytes, JSON Lines: one line for each event, inside an
// envelope that lets a reader tell a whole record from a torn one:
//
//	{"crc32c":"1f2e3d4c","len":141,"group":7,"line":1,"of":2,"event":{...}}
//
// len counts the bytes from "group" to the end of the event, and crc32c is the
// Castagnoli checksum of those bytes. The lines of one Append form a group,
// numbered from 1, which is committed as a whole.
//
// # In a folder
//
// A group whose last line is missing or torn never happened, because its Append
// never returned and so none of its effects was started. What follows from that
// on reading:
//
//   - damage in the last group is a torn write; the group is cut off;
//   - damage in any earlier group, which was synced before the next was
//     written, is a fault of the disk or of a person: an error that names the
//     line. The package never guesses.
//
// # In the cluster
//
// A rotation is one small head object and a chain of immutable chunks. Every
// Append is one update of the head under its version, so that the API server
// decides who writes: a conflict means that somebody else has taken the journal
// over. When the head would grow beyond its bound, its content becomes a chunk
// first, whose name carries its number and its digest; the digest covers the
// chunk before it, and the head names the last. So a crash between the two
// leaves a chunk that the next writer makes again under the same name, or that
// nothing refers to.
//
// The head carries the fencing number of its writer; a writer with a lower one
// is refused. An update whose answer was lost is settled by reading the head
// again, never by guessing.
package journal
