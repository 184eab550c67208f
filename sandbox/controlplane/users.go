package controlplane

// A User is an identity that the API server knows and the audit log names.
// Each simulated part has one of its own, so that the log tells them apart.
type User string

// The users of a sandbox.
const (
	// UserAdmin is rotatord's, and a person's with the sandbox's kubeconfig.
	UserAdmin User = "rotator-admin"
	// UserSetup fills the cluster with workloads before it is ready.
	UserSetup User = "sandbox-setup"
	// UserKubelet registers nodes, posts their status and runs their pods.
	UserKubelet User = "sandbox-kubelet"
	// UserCloudController initialises nodes and removes those of machines that
	// are gone.
	UserCloudController User = "sandbox-cloud-controller"
	// UserPodGC removes the pods of nodes that are gone.
	UserPodGC User = "sandbox-pod-gc"
	// UserCSI attaches and detaches volumes.
	UserCSI User = "sandbox-csi"
	// UserEKS is the one that EKS has for managed node groups.
	UserEKS User = "eks:node-manager"
	// UserObserver watches and changes nothing.
	UserObserver User = "sandbox-observer"

	userScheduler         User = "system:kube-scheduler"
	userControllerManager User = "system:kube-controller-manager"
)

// users are all identities with their groups. The scheduler's rights come from
// its name (RBAC's bootstrap roles); the controllers act as one user, because
// --use-service-account-credentials=false, and so need more than their name has.
var users = []struct {
	name  User
	group string
}{
	{UserAdmin, "system:masters"},
	{UserSetup, "system:masters"},
	{UserKubelet, "system:masters"},
	{UserCloudController, "system:masters"},
	{UserPodGC, "system:masters"},
	{UserCSI, "system:masters"},
	{UserEKS, "system:masters"},
	{UserObserver, "system:masters"},
	{userScheduler, ""},
	{userControllerManager, "system:masters"},
}
