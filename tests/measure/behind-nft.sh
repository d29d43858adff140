#!/usr/bin/env bash
# Runs a command behind Linux masquerading, with coturn on two addresses outside, in namespaces of its own: nothing leaves
# them, and nothing is left when the command ends.
#
#   tests/measure/behind-nft.sh masquerade|open|random COMMAND...
#
# SYSCTLS has settings of the NAT's kernel, such as net.netfilter.nf_conntrack_udp_timeout=5. The command's machine is 10.0.0.2, the NAT's outside is 198.18.0.2, coturn's addresses are 198.18.0.10 and 198.18.0.11.
set -euo pipefail
if [ "${INSIDE:-}" != yes ]; then
  INSIDE=yes exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
variant=$1
shift
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
for name in nat server; do
  ip netns add "$name"
  ip -n "$name" link set lo up
done
ip link add inside type veth peer name n0 netns nat
ip -n nat link add n1 type veth peer name outside netns server
ip address add 10.0.0.2/24 dev inside
ip link set inside up
ip -n nat address add 10.0.0.1/24 dev n0
ip -n nat address add 198.18.0.2/24 dev n1
ip -n nat link set n0 up
ip -n nat link set n1 up
ip -n server address add 198.18.0.10/24 dev outside
ip -n server address add 198.18.0.11/24 dev outside
ip -n server link set outside up
ip route add default via 10.0.0.1
ip netns exec nat sysctl -qw net.ipv4.ip_forward=1
input=drop masquerade=masquerade
# shellcheck disable=SC2086 # several settings, one a word
[ -z "${SYSCTLS:-}" ] || ip netns exec nat sysctl -qw $SYSCTLS
case $variant in
  masquerade) ;;
  open) input=accept ;;
  random) masquerade='masquerade fully-random' ;;
  *) echo "no variant $variant" >&2; exit 2 ;;
esac
ip netns exec nat nft -f - <<NFT
table ip box {
  chain input { type filter hook input priority 0; policy $input; ct state established,related accept; iif != n1 accept; }
  chain out { type nat hook postrouting priority 100; oif n1 $masquerade; }
}
NFT
ip netns exec server turnserver -n --stun-only --no-cli --no-tls --no-dtls --log-file=stdout --pidfile=/run/netns/pid \
  --listening-ip=198.18.0.10 --listening-ip=198.18.0.11 >/run/netns/log 2>&1 &
for _ in $(seq 100); do
  ip netns exec server ss -lntu | grep -q 198.18.0.11:3479 && break
  sleep 0.05
done
"$@"
