package kube

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxMessage bounds one object of a list: etcd takes 1.5 MiB by default.
const maxMessage = 16 << 20

// listReader reads a list of the API in protobuf, object by object: neither the
// message nor the list is in memory as a whole. A page of pods is 15 MB on the
// wire, and more once it is decoded.
type listReader struct {
	in      *bufio.Reader
	at      uint64 // bytes read
	message []byte // the last one that was read
}

// wireObject is an object of the API as its generated type has it.
type wireObject interface {
	apiruntime.Object
	Reset()
	Unmarshal([]byte) error
}

// read reads the envelope, a runtime.Unknown, and the list in it. item is called with
// the message of each object, which is valid until it returns, and with what is cut out
// of those of its kind; nil: nothing is.
func (l *listReader) read(began func(metav1.ListMeta), item func(c *cut, message []byte) error) error {
	if _, err := l.next(uint64(len(magic))); err != nil {
		return err
	}
	var c *cut
	for whole := false; ; {
		if _, err := l.in.Peek(1); whole && errors.Is(err, io.EOF) {
			return nil
		}
		number, size, err := l.field()
		if err != nil {
			return err
		}
		if number == fieldRaw {
			if err := l.list(l.at+size, c, began, item); err != nil {
				return err
			}
			whole = true
			continue
		}
		message, err := l.next(size)
		if err != nil {
			return err
		}
		switch {
		case number == fieldType:
			kind := texts(message)
			if envelope := cuts[schema.FromAPIVersionAndKind(string(kind[fieldAPIVersion]), strings.TrimSuffix(string(kind[fieldKind]), "List"))]; envelope != nil {
				c = envelope.fields[fieldRaw]
			}
		case number == fieldEncoding && size > 0:
			return fmt.Errorf("it is encoded as %q, which nobody asked for", message)
		}
	}
}

// list reads a list that ends there.
func (l *listReader) list(end uint64, c *cut, began func(metav1.ListMeta), item func(c *cut, message []byte) error) error {
	for l.at < end {
		number, size, err := l.field()
		if err != nil {
			return err
		}
		message, err := l.next(size)
		if err != nil {
			return err
		}
		switch number {
		case fieldListMeta:
			var m metav1.ListMeta
			if err := m.Unmarshal(message); err != nil {
				return err
			}
			began(m)
		case fieldItems:
			if err := item(c, message); err != nil {
				return err
			}
		}
	}
	if l.at > end {
		return errors.New("its last object is longer than the list")
	}
	return nil
}

// field reads what comes before a field: its number, and how many bytes it has.
// Numbers are read with it.
func (l *listReader) field() (number protowire.Number, size uint64, err error) {
	tag, err := l.number()
	if err != nil {
		return 0, 0, err
	}
	number, kind := protowire.DecodeTag(tag)
	switch kind {
	case protowire.BytesType:
		size, err = l.number()
	case protowire.VarintType:
		_, err = l.number()
	case protowire.Fixed32Type:
		size = 4
	case protowire.Fixed64Type:
		size = 8
	default:
		err = fmt.Errorf("field %d is of the wire type %d", number, kind)
	}
	return number, size, err
}

func (l *listReader) number() (uint64, error) {
	n, err := binary.ReadUvarint(l)
	return n, unexpected(err)
}

// ReadByte implements io.ByteReader.
func (l *listReader) ReadByte() (byte, error) {
	b, err := l.in.ReadByte()
	if err == nil {
		l.at++
	}
	return b, err
}

// next reads so many bytes. They are valid until it is called again.
func (l *listReader) next(size uint64) ([]byte, error) {
	if size > maxMessage {
		return nil, fmt.Errorf("an object of %d bytes, and %d are the most", size, maxMessage)
	}
	if uint64(cap(l.message)) < size {
		l.message = make([]byte, size+size/2)
	}
	l.message = l.message[:size]
	n, err := io.ReadFull(l.in, l.message)
	l.at += uint64(n)
	return l.message, unexpected(err)
}

// unexpected tells that the connection was cut: the end is never due there.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
