package stack

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awseks "github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/controlplane"
)

func awsConfig(key string) sdk.Config {
	return sdk.Config{Region: box.opts.Region, BaseEndpoint: &box.url, Credentials: credentials.NewStaticCredentialsProvider(key, aws.SecretAccessKey, "")}
}

// A managed node group joins with its labels, is rolled by EKS in the real API server, and goes with its nodes.
func TestManagedNodegroupLivesInTheCluster(t *testing.T) {
	settle(t)
	client := awseks.NewFromConfig(awsConfig(aws.AccessKeyID))
	cluster, name := box.opts.Cluster, "apps"
	if err := box.cloud.CreateNodegroup(aws.NodegroupSpec{Cluster: cluster, Name: name, Max: 2, Desired: 2, InstanceTypes: []string{instanceType},
		Labels: map[string]string{"team": "a"}, Taints: []aws.NodeTaint{{Key: "dedicated", Value: "a", Effect: "NO_SCHEDULE"}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return nodegroupsMissing(box.cloud, cluster) })
	images := func() (list []string) {
		for _, n := range nodes(t) {
			if n.Labels["eks.amazonaws.com/nodegroup"] == name {
				list = append(list, n.Labels["eks.amazonaws.com/nodegroup-image"])
				if n.Labels["team"] != "a" || n.Labels["eks.amazonaws.com/capacityType"] != "ON_DEMAND" ||
					!slices.Contains(n.Spec.Taints, corev1.Taint{Key: "dedicated", Value: "a", Effect: corev1.TaintEffectNoSchedule}) {
					t.Errorf("node %s: labels %v, taints %v", n.Name, n.Labels, n.Spec.Taints)
				}
			}
		}
		return list
	}
	before := images()
	if len(before) != 2 {
		t.Fatalf("%d nodes of the group, want 2", len(before))
	}
	// A pod that only these nodes can run, which has to move.
	_, err := admin.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "dedicated"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}, NodeSelector: map[string]string{"team": "a"},
			Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		p, err := admin.CoreV1().Pods("default").Get(t.Context(), "dedicated", metav1.GetOptions{})
		if err != nil || p.Status.Phase != corev1.PodRunning {
			return fmt.Sprintf("the pod runs: %v, %v", p.Status.Phase, err)
		}
		return ""
	})

	next, err := box.cloud.AddReleases(aws.ReleaseSpec{AMIType: "AL2023_x86_64_STANDARD", Kubernetes: aws.KubernetesVersion})
	if err != nil {
		t.Fatal(err)
	}
	u, err := client.UpdateNodegroupVersion(t.Context(), &awseks.UpdateNodegroupVersionInput{ClusterName: &cluster, NodegroupName: &name})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		out, err := client.DescribeUpdate(t.Context(), &awseks.DescribeUpdateInput{Name: &cluster, NodegroupName: &name, UpdateId: u.Update.Id})
		if err != nil || out.Update.Status != types.UpdateStatusSuccessful {
			return fmt.Sprintf("the update succeeds: %+v, %v", out, err)
		}
		return ""
	})
	eventually(t, func() string {
		if after := images(); !slices.Equal(after, []string{next[0].ImageID, next[0].ImageID}) {
			return fmt.Sprintf("two nodes of image %s: %v", next[0].ImageID, after)
		}
		return ""
	})
	if _, err := admin.CoreV1().Pods("default").Get(t.Context(), "dedicated", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the pod without a controller is still there: %v", err)
	}

	if _, err := client.DeleteNodegroup(t.Context(), &awseks.DeleteNodegroupInput{ClusterName: &cluster, NodegroupName: &name}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if left := images(); len(left) > 0 || len(box.cloud.Nodegroups(cluster)) > 0 {
			return fmt.Sprintf("%d nodes are still there", len(left))
		}
		return ""
	})
	settle(t)
}

// What DescribeCluster says and a token of STS are enough to reach the cluster as rotatord.
func TestAccessByToken(t *testing.T) {
	out, err := awseks.NewFromConfig(awsConfig(aws.AccessKeyID)).DescribeCluster(t.Context(), &awseks.DescribeClusterInput{Name: &box.opts.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := base64.StdEncoding.DecodeString(*out.Cluster.CertificateAuthority.Data)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(aws.KubernetesVersion, *out.Cluster.Version+".") {
		t.Errorf("version %s", *out.Cluster.Version)
	}
	whoami := func(key, cluster string) (string, error) {
		presigned, err := sts.NewPresignClient(sts.NewFromConfig(awsConfig(key))).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
			o.ClientOptions = append(o.ClientOptions, sts.WithAPIOptions(
				smithyhttp.AddHeaderValue("X-Amz-Expires", "60"), smithyhttp.AddHeaderValue("x-k8s-aws-id", cluster)))
		})
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(&rest.Config{Host: *out.Cluster.Endpoint, TLSClientConfig: rest.TLSClientConfig{CAData: ca},
			BearerToken: "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(presigned.URL))})
		if err != nil {
			t.Fatal(err)
		}
		me, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		return me.Status.UserInfo.Username, nil
	}
	if user, err := whoami(aws.AccessKeyID, box.opts.Cluster); err != nil || user != string(controlplane.UserAdmin) {
		t.Errorf("user %q, %v", user, err)
	}
	for what, of := range map[string][2]string{
		"another cluster's": {aws.AccessKeyID, "prod"}, "another user's": {aws.DeniedAccessKeyID, box.opts.Cluster},
	} {
		if user, err := whoami(of[0], of[1]); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s token: user %q, %v; want it refused", what, user, err)
		}
	}
}
