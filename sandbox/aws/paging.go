package aws

import (
	"encoding/base64"
	"strings"
)

// page cuts one page out of all, which is sorted by key. A token holds the key of the last item that was shown, so that
// paging goes on rightly when items come and go between two pages. size 0 means all at once.
//
// scope keeps tokens from being used with another action.
func page[T any](scope string, all []T, key func(T) string, token string, size int) (items []T, next string, ok bool) {
	start := 0
	if token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		after, found := strings.CutPrefix(string(raw), scope+"\x00")
		if err != nil || !found {
			return nil, "", false
		}
		for start < len(all) && key(all[start]) <= after {
			start++
		}
	}
	items = all[start:]
	if size > 0 && len(items) > size {
		items = items[:size]
		next = base64.RawURLEncoding.EncodeToString([]byte(scope + "\x00" + key(items[size-1])))
	}
	return items, next, true
}
