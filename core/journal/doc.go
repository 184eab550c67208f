// Package journal keeps the durable events of rotations in a local folder, one
// file for each rotation.
//
// A file is JSON Lines: one line for each event, inside an envelope that lets a
// reader tell a whole record from a torn one:
//
//	{"crc32c":"1f2e3d4c","len":141,"group":7,"line":1,"of":2,"event":{...}}
//
// len counts the bytes from "group" to the end of the event, and crc32c is the
// Castagnoli checksum of those bytes. The lines of one Append form a group,
// numbered from 1, which is committed as a whole: a group whose last line is
// missing or torn never happened, because its Append never returned and so
// none of its effects was started. What follows from that on reading:
//
//   - damage in the last group is a torn write; the group is cut off;
//   - damage in any earlier group, which was synced before the next was
//     written, is a fault of the disk or of a person: an error that names the
//     line. The package never guesses.
package journal
