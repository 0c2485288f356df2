//! What each reason of the kernel means.

use super::{
    DROP_HORIZON, INVALID_EXTENSION_HEADER, INVALID_PACKET, INVALID_SOURCE_IP, INVALID_SOURCE_MAC,
    INVALID_VNI, Meaning, NO_ROUTE, NO_SOCKET, UNKNOWN_L4, UNSUPPORTED_L3, counted, hook, ignored,
    told,
};

/// Sorted by name.
pub(super) const ALL: &[Meaning] = &[
    counted(
        "ARP_PVLAN_DISABLE",
        "an ARP request that would be answered on the interface it came by",
    ),
    told(
        "BPF_CGROUP_EGRESS",
        0,
        "a BPF program on the sender's cgroup forbids it: look at `bpftool cgroup tree`, and at IPAddressDeny= of systemd units",
    ),
    told(
        "BRIDGE_INGRESS_STP_STATE",
        0,
        "the bridge port is not forwarding (spanning tree): `bridge link` shows its state",
    ),
    told(
        "CAKE_FLOOD",
        0,
        "the CAKE qdisc protects itself against a flood of flows: `tc -s qdisc`",
    ),
    ignored("CANFD_RX_INVALID_FRAME", "a frame of a CAN bus"),
    ignored("CANXL_RX_INVALID_FRAME", "a frame of a CAN bus"),
    ignored("CAN_RX_INVALID_FRAME", "a frame of a CAN bus"),
    ignored("CONSUMED", "the packet was used"),
    told(
        "CPU_BACKLOG",
        0,
        "a CPU's input queue is full: raise net.core.netdev_max_backlog, or spread packets over CPUs (RPS)",
    ),
    told(
        "DEV_HDR",
        0,
        "the driver could not make or read the frame's header",
    ),
    told(
        "DEV_READY",
        0,
        "the interface, or the program behind a TAP device, is not ready or not up",
    ),
    told(
        "DUALPI2_STEP_DROP",
        0,
        "the DualPI2 qdisc keeps its queue short: the link is congested",
    ),
    counted("DUP_FRAG", "a fragment that had come already"),
    told(
        "FQ_BAND_LIMIT",
        0,
        "the fq qdisc has as many packets of this priority as it may: `tc -s qdisc`",
    ),
    told(
        "FQ_FLOW_LIMIT",
        0,
        "the fq qdisc has as many packets of this flow as it may (flow_limit)",
    ),
    told(
        "FQ_HORIZON_LIMIT",
        DROP_HORIZON,
        "the packet's time to leave is too far in the future for the fq qdisc (horizon): a rate limit is exceeded",
    ),
    told(
        "FRAG_REASM_TIMEOUT",
        0,
        "fragments of a datagram did not all come in time: some are lost on the way; look at MTUs",
    ),
    told(
        "FRAG_TOO_FAR",
        0,
        "fragments come too far out of order (net.ipv4.ipfrag_max_dist)",
    ),
    told(
        "FULL_RING",
        0,
        "a device's ring is full: its reader (a virtual machine, or a program behind a TAP device) is too slow",
    ),
    told(
        "HDR_TRUNC",
        INVALID_PACKET,
        "the packet is shorter than its headers say",
    ),
    told(
        "ICMP_CSUM",
        INVALID_PACKET,
        "the ICMP checksum is wrong: the packet was damaged, or checksum offload is broken on the way",
    ),
    told(
        "INVALID_PROTO",
        INVALID_PACKET,
        "a protocol, or a type of it, that cannot be here (IP version, ICMP type)",
    ),
    told(
        "IPV6DISABLED",
        UNSUPPORTED_L3,
        "IPv6 is switched off on the interface (net.ipv6.conf.*.disable_ipv6)",
    ),
    told(
        "IPV6_BAD_EXTHDR",
        INVALID_EXTENSION_HEADER,
        "an IPv6 extension header is malformed",
    ),
    told(
        "IPV6_NDISC_BAD_CODE",
        INVALID_PACKET,
        "a neighbour discovery message has a code that is not 0",
    ),
    told(
        "IPV6_NDISC_BAD_OPTIONS",
        INVALID_PACKET,
        "a neighbour discovery message has malformed options",
    ),
    told(
        "IPV6_NDISC_FRAG",
        INVALID_PACKET,
        "a neighbour discovery message came in fragments, which are suppressed",
    ),
    told(
        "IPV6_NDISC_HOP_LIMIT",
        INVALID_PACKET,
        "a neighbour discovery message came from beyond this link: its hop limit is not 255",
    ),
    counted(
        "IPV6_NDISC_NS_OTHERHOST",
        "a neighbour solicitation for somebody else",
    ),
    told(
        "IP_CSUM",
        INVALID_PACKET,
        "the IP header's checksum is wrong: the packet was damaged",
    ),
    told(
        "IP_INADDRERRORS",
        0,
        "the destination address is not valid for input here: often a host route or martian setting",
    ),
    told(
        "IP_INHDR",
        INVALID_PACKET,
        "the IP header makes no sense, or the time to live has ended",
    ),
    told(
        "IP_INNOROUTES",
        NO_ROUTE,
        "this node has no route for the destination: `ip route get` for it, and whether forwarding is on for the interface",
    ),
    told(
        "IP_INVALID_DEST",
        0,
        "the destination cannot be one here: a reserved or multicast address nobody has joined",
    ),
    told(
        "IP_INVALID_SOURCE",
        INVALID_SOURCE_IP,
        "the source address cannot be one: multicast, broadcast or zero (a martian)",
    ),
    told(
        "IP_LOCALNET",
        INVALID_SOURCE_IP,
        "a loopback address came from outside: net.ipv4.conf.*.route_localnet is off",
    ),
    told(
        "IP_LOCAL_SOURCE",
        INVALID_SOURCE_IP,
        "the source address is this host's own, and the packet came from outside: a duplicate address or a loop (accept_local)",
    ),
    told(
        "IP_NOPROTO",
        UNKNOWN_L4,
        "nobody here speaks the IP protocol of the packet",
    ),
    told(
        "IP_OUTNOROUTES",
        NO_ROUTE,
        "no route for what is sent: `ip route get` for the destination",
    ),
    told(
        "IP_RPFILTER",
        INVALID_SOURCE_IP,
        "answers to the source would leave by another interface than the packet came by: set net.ipv4.conf.*.rp_filter to 2 or 0 there, or mend the routes",
    ),
    told(
        "IP_TUNNEL_ECN",
        0,
        "the congestion marks of tunnel and packet contradict each other (RFC 6040)",
    ),
    told(
        "LOCAL_MAC",
        0,
        "the source has this host's own hardware address: a loop, or two interfaces with one address",
    ),
    counted("MAC_IEEE_MAC_CONTROL", "a pause frame of the link"),
    told(
        "MAC_INVALID_SOURCE",
        INVALID_SOURCE_MAC,
        "the source hardware address cannot be one, or is the tunnel device's own",
    ),
    told(
        "NEIGH_CREATEFAIL",
        0,
        "no entry for the next hop can be made: the neighbour table is full (net.ipv4.neigh.default.gc_thresh3)",
    ),
    told(
        "NEIGH_DEAD",
        0,
        "the entry of the next hop is being removed",
    ),
    told(
        "NEIGH_FAILED",
        0,
        "the next hop does not answer ARP or neighbour discovery: it is down, or not on this link",
    ),
    told(
        "NEIGH_HH_FILLFAIL",
        0,
        "the hardware address of the next hop could not be written into the frame",
    ),
    told(
        "NEIGH_QUEUEFULL",
        0,
        "too many packets wait for the next hop's hardware address (net.ipv4.neigh.*.unres_qlen_bytes)",
    ),
    told(
        "NETFILTER_DROP",
        0,
        "a netfilter rule (nftables, iptables) drops it: `drops.netfilterRules: true` names the rule",
    ),
    told("NOMEM", 0, "the kernel has no memory for it"),
    ignored("NOT_DROPPED_YET", "nothing was dropped"),
    told(
        "NOT_SPECIFIED",
        0,
        "the kernel names no reason; the place says who dropped it",
    ),
    told(
        "NO_SOCKET",
        NO_SOCKET,
        "nobody listens on this port and address: is the server up, does it listen on this address family and not only on loopback?",
    ),
    told(
        "NO_TX_TARGET",
        0,
        "a tunnel or a group of devices has nobody to send it to: no entry in the forwarding database",
    ),
    counted(
        "OTHERHOST",
        "a frame for another host, which a bridge or switch has flooded",
    ),
    counted(
        "PACKET_SOCK_ERROR",
        "a copy for a packet capture that has no room",
    ),
    told(
        "PFMEMALLOC",
        0,
        "memory is so short that only packets which free memory are taken",
    ),
    told(
        "PKT_TOO_BIG",
        0,
        "the packet is larger than the MTU of the way out and may not be cut: path MTU discovery is broken where ICMP is filtered",
    ),
    told(
        "PKT_TOO_SMALL",
        INVALID_PACKET,
        "the packet is shorter than its header",
    ),
    told(
        "PROTO_MEM",
        0,
        "the memory that sockets of this protocol share is used up (net.ipv4.tcp_mem, net.ipv4.udp_mem)",
    ),
    told(
        "PSP_INPUT",
        0,
        "it does not fulfil the encryption that the socket asks for (PSP)",
    ),
    told(
        "PSP_OUTPUT",
        0,
        "it could not be encrypted as the socket asks for (PSP)",
    ),
    told(
        "QDISC_CONGESTED",
        0,
        "a qdisc keeps its queue short: the link is congested",
    ),
    told(
        "QDISC_DROP",
        0,
        "a qdisc dropped it: `tc -s qdisc` counts them by device",
    ),
    told(
        "QDISC_OVERLIMIT",
        0,
        "a qdisc's queue is full: the link is slower than what is sent (`tc -s qdisc`, txqueuelen)",
    ),
    counted(
        "QUEUE_PURGE",
        "a queue was emptied, since its socket or device goes",
    ),
    told(
        "RECURSION_LIMIT",
        0,
        "the packet went through too many devices that stand on each other: a loop of tunnels or bridges",
    ),
    told(
        "SECURITY_HOOK",
        0,
        "a security module (SELinux, AppArmor, a BPF LSM program) forbids it: look at its log",
    ),
    told(
        "SKB_CSUM",
        INVALID_PACKET,
        "its checksum is wrong, or could not be computed",
    ),
    told(
        "SKB_GSO_SEG",
        0,
        "a large packet could not be cut into segments: offloads of two devices do not fit",
    ),
    told(
        "SKB_UCOPY_FAULT",
        0,
        "it could not be copied from or to the memory of a program",
    ),
    told(
        "SOCKET_BACKLOG",
        0,
        "the socket's backlog is full: its program is busy and its receive buffer small (SO_RCVBUF, net.ipv4.tcp_rmem)",
    ),
    counted("SOCKET_CLOSE", "it waited in a socket that was closed"),
    told(
        "SOCKET_FILTER",
        0,
        "a filter on the socket (SO_ATTACH_FILTER), or a BPF program on its cgroup, does not want it",
    ),
    told(
        "SOCKET_RCVBUFF",
        0,
        "the socket's receive buffer is full: the program reads too slowly (SO_RCVBUF, net.core.rmem_max)",
    ),
    told(
        "TAP_FILTER",
        0,
        "the filter of a TAP device does not want it",
    ),
    told(
        "TAP_TXFILTER",
        0,
        "the address filter of a TAP device does not want it",
    ),
    told(
        "TCP_ABORT_ON_DATA",
        0,
        "data for a connection that its program has closed: it is answered by a reset, and what was sent is lost",
    ),
    told(
        "TCP_ACK_UNSENT_DATA",
        0,
        "it acknowledges what was never sent: another connection's packet, or a middlebox that loses track",
    ),
    told(
        "TCP_AOFAILURE",
        0,
        "its TCP-AO signature is wrong: the keys differ",
    ),
    told(
        "TCP_AOKEYNOTFOUND",
        0,
        "it is signed with a TCP-AO key that is not known here",
    ),
    told(
        "TCP_AONOTFOUND",
        0,
        "it lacks the TCP-AO signature that the socket asks for",
    ),
    told(
        "TCP_AOUNEXPECTED",
        0,
        "it has a TCP-AO signature that the socket does not know of",
    ),
    told(
        "TCP_AUTH_HDR",
        0,
        "its TCP authentication options are malformed",
    ),
    counted("TCP_CLOSE", "it came for a connection that is closed"),
    told(
        "TCP_CSUM",
        INVALID_PACKET,
        "the TCP checksum is wrong: the packet was damaged, or checksum offload is broken on the way",
    ),
    told(
        "TCP_FASTOPEN",
        0,
        "it does not fit a connection that TCP fast open has begun",
    ),
    told(
        "TCP_FLAGS",
        0,
        "its TCP flags make no sense in the state of the connection",
    ),
    told(
        "TCP_INVALID_ACK_SEQUENCE",
        0,
        "its acknowledgement does not fit the handshake",
    ),
    told(
        "TCP_INVALID_END_SEQUENCE",
        0,
        "it ends behind the receive window: the sender ignores it, or a middlebox has changed window scaling",
    ),
    told(
        "TCP_INVALID_SEQUENCE",
        0,
        "it is outside of the receive window: a late packet, or a middlebox that loses track",
    ),
    told(
        "TCP_INVALID_SYN",
        0,
        "a SYN within an open connection: the peer has lost it (restarted), or ports are reused behind NAT",
    ),
    told(
        "TCP_LISTEN_OVERFLOW",
        0,
        "the server's accept queue is full: it accepts too slowly, or its backlog is small (listen(2), net.core.somaxconn)",
    ),
    told(
        "TCP_MD5FAILURE",
        0,
        "its TCP-MD5 signature is wrong: the passwords differ",
    ),
    told(
        "TCP_MD5NOTFOUND",
        0,
        "it lacks the TCP-MD5 signature that the socket asks for",
    ),
    told(
        "TCP_MD5UNEXPECTED",
        0,
        "it has a TCP-MD5 signature that the socket does not know of",
    ),
    told(
        "TCP_MINTTL",
        0,
        "its time to live is below what the socket asks for (IP_MINTTL)",
    ),
    counted("TCP_OFOMERGE", "data that had come already, out of order"),
    counted(
        "TCP_OFO_DROP",
        "data out of order that has come again meanwhile",
    ),
    told(
        "TCP_OFO_QUEUE_PRUNE",
        0,
        "data out of order was thrown away for want of receive memory (net.ipv4.tcp_rmem): it must be sent again",
    ),
    counted(
        "TCP_OLD_ACK",
        "an acknowledgement that another one has overtaken",
    ),
    counted(
        "TCP_OLD_DATA",
        "data that had come already: it was sent again though nothing was lost",
    ),
    counted(
        "TCP_OLD_SEQUENCE",
        "it is older than the window: a keep-alive, or sent again though nothing was lost",
    ),
    told(
        "TCP_OVERWINDOW",
        0,
        "data behind the receive window: the sender does not keep to it",
    ),
    counted("TCP_RESET", "the packet that has reset a connection"),
    told(
        "TCP_RFC7323_PAWS",
        0,
        "its timestamp is older than the last one: a late packet, or hosts behind one NAT address with different clocks",
    ),
    counted(
        "TCP_RFC7323_PAWS_ACK",
        "an acknowledgement with an older timestamp, which another one has overtaken",
    ),
    told(
        "TCP_RFC7323_TSECR",
        0,
        "it echoes a timestamp that was never sent",
    ),
    told(
        "TCP_RFC7323_TW_PAWS",
        0,
        "a new connection with an older timestamp than the former one on the same ports (TIME_WAIT): often NAT",
    ),
    told(
        "TCP_TOO_OLD_ACK",
        0,
        "an acknowledgement older than anything in flight: perhaps a blind attack (RFC 5961)",
    ),
    told(
        "TCP_ZEROWINDOW",
        0,
        "data while the receiver's window is closed: its program does not read",
    ),
    told(
        "TC_CHAIN_NOTFOUND",
        0,
        "a tc rule goes to a chain that does not exist",
    ),
    told(
        "TC_COOKIE_ERROR",
        0,
        "a tc action could not go on where it had left",
    ),
    hook(
        "TC_EGRESS",
        "a tc filter or program on the interface's way out drops it: `tc filter show dev … egress`, `bpftool net`",
    ),
    hook(
        "TC_INGRESS",
        "a tc filter or program on the interface's way in drops it: `tc filter show dev … ingress`, `bpftool net`",
    ),
    told("TC_RECLASSIFY_LOOP", 0, "tc rules go round in a circle"),
    told(
        "TUNNEL_TXINFO",
        0,
        "a tunnel device got it without being told where to",
    ),
    told(
        "UDP_CSUM",
        INVALID_PACKET,
        "the UDP checksum is wrong: the packet was damaged, or checksum offload is broken on the way",
    ),
    told(
        "UNHANDLED_PROTO",
        UNSUPPORTED_L3,
        "nobody here takes frames of this type",
    ),
    counted(
        "UNICAST_IN_L2_MULTICAST",
        "a packet for one host in a frame for many",
    ),
    ignored("UNIX_DISCONNECT", "a message of a local socket"),
    ignored("UNIX_SKIP_OOB", "a message of a local socket"),
    told(
        "VXLAN_ENTRY_EXISTS",
        0,
        "the hardware address moved to another tunnel end while the entry is fixed (bridge fdb)",
    ),
    told(
        "VXLAN_INVALID_HDR",
        INVALID_PACKET,
        "the VXLAN header makes no sense",
    ),
    told(
        "VXLAN_VNI_NOT_FOUND",
        INVALID_VNI,
        "no VXLAN device here has this network number (VNI)",
    ),
    told(
        "XDP",
        0,
        "an XDP program on the interface drops it: `bpftool net`",
    ),
    told(
        "XFRM_POLICY",
        0,
        "an IPsec policy forbids it, or wants it encrypted: `ip xfrm policy`",
    ),
];
