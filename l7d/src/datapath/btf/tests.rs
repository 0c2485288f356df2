use super::*;

/// Writes BTF.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Bytes of strings of the kernel, where these are a module's.
    before: u32,
}

impl Writer {
    fn of_kernel() -> Self {
        Self {
            strings: vec![0],
            ..Self::default()
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.before + u32::try_from(self.strings.len()).expect("short");
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn number(&mut self, value: u32) {
        self.types.extend(value.to_ne_bytes());
    }

    fn head(&mut self, name: &str, kind: u32, count: usize, size_or_id: u32) {
        let name = self.name(name);
        self.number(name);
        self.number(kind << 24 | u32::try_from(count).expect("few"));
        self.number(size_or_id);
    }

    fn integer(&mut self, name: &str, size: u32) {
        self.head(name, 1, 0, size);
        self.number(size * 8);
    }

    /// A structure (4) or union (5) of members: name, type, offset in bytes.
    fn aggregate(&mut self, name: &str, kind: u32, size: u32, members: &[(&str, u32, u32)]) {
        self.head(name, kind, members.len(), size);
        for (name, id, offset) in members {
            let name = self.name(name);
            self.number(name);
            self.number(*id);
            self.number(offset * 8);
        }
    }

    fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) {
        self.head(name, 6, values.len(), 4);
        for (name, value) in values {
            let name = self.name(name);
            self.number(name);
            self.number(*value);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len(), self.strings.len());
        let mut bytes = Vec::from(0xeb9f_u16.to_ne_bytes());
        bytes.extend([1, 0]);
        for field in [24, 0, types, types, strings] {
            bytes.extend(u32::try_from(field).expect("short").to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// 1 `u32`; 2 a union of it and a `u64`; 3 a structure with it; 4 a constant of 3; 5 a structure of
/// both, the union without a name; 6 reasons.
fn kernel() -> Writer {
    let mut kernel = Writer::of_kernel();
    kernel.integer("u32", 4);
    kernel.aggregate("", 5, 8, &[("low", 1, 0), ("next", 1, 4)]);
    kernel.aggregate("ns_common", 4, 12, &[("stashed", 1, 0), ("inum", 1, 8)]);
    kernel.head("", 10, 0, 3);
    kernel.aggregate("net", 4, 40, &[("", 2, 16), ("ns", 4, 24)]);
    let reasons = [("SKB_DROP_REASON_NO_SOCKET", 3), ("SKB_MASK", 0xffff_0000)];
    kernel.enumeration("skb_drop_reason", &reasons);
    kernel
}

#[test]
fn finds_fields_behind_anonymous_and_qualified_types() {
    let bytes = kernel().bytes();
    let btf = Btf::parse(&bytes).expect("BTF");
    let at = |offset, size| Some(Field { offset, size });
    assert_eq!(btf.field("net", "next"), at(20, 4));
    assert_eq!(btf.field("net", "ns"), at(24, 12));
    assert_eq!(btf.field("net", "ns.inum"), at(32, 4));
    assert_eq!(btf.field("net", "ns.count"), None);
    assert_eq!(btf.field("netns", "ns"), None);
    assert_eq!(btf.size("net"), Some(40));
}

#[test]
fn names_numbers_of_enumerations() {
    let bytes = kernel().bytes();
    let btf = Btf::parse(&bytes).expect("BTF");
    let reasons = [("SKB_DROP_REASON_NO_SOCKET", 3), ("SKB_MASK", 0xffff_0000)];
    assert_eq!(btf.values("skb_drop_reason"), reasons);
    assert!(btf.values("net").is_empty());
    assert_eq!(btf.enumerations().collect::<Vec<_>>(), ["skb_drop_reason"]);
}

#[test]
fn a_modules_types_continue_the_kernels() {
    let kernel = kernel();
    let mut module = Writer {
        before: u32::try_from(kernel.strings.len()).expect("short"),
        ..Writer::default()
    };
    module.aggregate("veth_priv", 4, 16, &[("peer", 3, 8)]);
    module.enumeration("ovs_drop_reason", &[("OVS_DROP_LAST_ACTION", 0x2_0001)]);
    let (kernel, module) = (kernel.bytes(), module.bytes());
    let kernel = Btf::parse(&kernel).expect("BTF");
    let module = Btf::of_module(&module, &kernel).expect("BTF");
    let peer = module.field("veth_priv", "peer.inum").expect("a field");
    assert_eq!(peer.offset, 16);
    assert_eq!(
        module.field("net", "next").map(|field| field.offset),
        Some(20)
    );
    assert_eq!(
        module.values("ovs_drop_reason"),
        [("OVS_DROP_LAST_ACTION", 0x2_0001)]
    );
}

#[test]
fn no_byte_less_or_other_leads_astray() {
    let whole = kernel().bytes();
    for end in 0..whole.len() {
        let cut = whole.get(..end).expect("shorter");
        assert!(Btf::parse(cut).is_err(), "{end} bytes");
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut other = whole.clone();
            *other.get_mut(at).expect("within") = value;
            if let Ok(btf) = Btf::parse(&other) {
                let _any = (btf.field("net", "ns.inum"), btf.values("skb_drop_reason"));
            }
        }
    }
}

#[test]
fn a_type_that_contains_itself_has_no_end_that_is_waited_for() {
    let mut kernel = Writer::of_kernel();
    kernel.aggregate("", 5, 8, &[("", 1, 0)]);
    kernel.head("loop", 8, 0, 2);
    kernel.aggregate("net", 4, 8, &[("", 1, 0), ("ns", 2, 0)]);
    let bytes = kernel.bytes();
    let btf = Btf::parse(&bytes).expect("BTF");
    assert_eq!(btf.field("net", "inum"), None);
    assert_eq!(btf.field("net", "ns.inum"), None);
    assert_eq!(btf.tracepoint_arguments("loop"), None);
}

#[test]
fn reads_this_kernels_own_where_there_is_any() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        eprintln!("this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(&bytes).expect("BTF");
    assert_eq!(btf.field("sk_buff", "dev").map(|field| field.size), Some(8));
    assert_eq!(
        btf.field("sk_buff", "protocol").map(|field| field.size),
        Some(2)
    );
    assert_eq!(
        btf.field("net_device", "ifindex").map(|field| field.size),
        Some(4)
    );
    assert!(btf.tracepoint_arguments("kfree_skb") >= Some(2));
}
