package kube

import (
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rotatord/rotator/core/engine"
)

// A node is deleted by its uid, so that the one that comes after it under the
// same name is never hit.
func TestDeleteNode(t *testing.T) {
	conflict := metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict}
	for name, tc := range map[string]struct {
		uid    string
		refuse *metav1.Status
		now    string // uid of the node that is there; empty: none
		code   engine.ErrorCode
	}{
		"deleted":               {uid: "n1", now: "n1"},
		"gone already":          {uid: "n1", refuse: &metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound}},
		"another life":          {uid: "n1", refuse: &conflict, now: "n2"},
		"gone meanwhile":        {uid: "n1", refuse: &conflict},
		"written at the moment": {uid: "n1", refuse: &conflict, now: "n1", code: engine.ErrTransient},
		"may not":               {uid: "n1", refuse: &metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden}, now: "n1", code: engine.ErrPermanent},
		"without its uid":       {now: "n1", code: engine.ErrPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			if tc.now != "" {
				api.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "web-1", UID: types.UID(tc.now)}})
			}
			api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				switch {
				case r.Method != http.MethodDelete:
					return false
				case tc.refuse != nil:
					refuse(w, *tc.refuse)
				default:
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
				}
				return true
			}
			err := api.cluster().DeleteNode(t.Context(), "web-1", tc.uid)
			if tc.code == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else {
				check(t, err, tc.code, "node web-1")
			}
			if tc.uid == "" || tc.refuse != nil {
				return
			}
			req := api.last(http.MethodDelete)
			obj, _, err := codecs.UniversalDeserializer().Decode(req.body, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			o := obj.(*metav1.DeleteOptions)
			if o.Preconditions == nil || o.Preconditions.UID == nil || string(*o.Preconditions.UID) != tc.uid {
				t.Errorf("deleted with %+v, want the uid %s as a precondition", o.Preconditions, tc.uid)
			}
		})
	}
}
