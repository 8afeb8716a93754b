"""The polynomials, lowest coefficient first; by derive.py, which explains them."""

from __future__ import annotations


def _floats(*lines: str) -> tuple[float, ...]:
    return tuple(float.fromhex(word) for line in lines for word in line.split())


COEFFICIENTS: dict[tuple[str, str], tuple[float, ...]] = {
    ("exp_wide", "f32"): _floats(  # error 2**-25.9
        "0x1.00000cp-1 0x1.555516p-3 0x1.554a10p-5 0x1.11272ap-7 0x1.71b650p-10",
        "0x1.9b627ep-13",
    ),
    ("exp_wide", "f64"): _floats(  # error 2**-56.2
        "0x1.ffffffffffff3p-2 0x1.55555555555b2p-3 0x1.5555555556944p-5 0x1.111111110899bp-7",
        "0x1.6c16c169c1111p-10 0x1.a01a01b1365fcp-13 0x1.a01a0580db9c9p-16 0x1.71de2b038edefp-19",
        "0x1.27e1ca6932484p-22 0x1.ae703eee9d22bp-26 0x1.217a91632f704p-29 0x1.5ec4f698f7d86p-33",
    ),
    ("exp", "f32"): _floats(  # error 2**-28.2
        "0x1.fffffcp-2 0x1.555494p-3 0x1.55588ep-5 0x1.1238aap-7 0x1.6a7aa2p-10",
    ),
    ("exp", "f64"): _floats(  # error 2**-57.8
        "0x1.000000000000ap-1 0x1.5555555555510p-3 0x1.5555555550867p-5 0x1.111111112483fp-7",
        "0x1.6c16c1840631ep-10 0x1.a01a0134aa4d2p-13 0x1.a0199a90ad700p-16 0x1.71df17ff8c5efp-19",
        "0x1.28acf0d2d6d6cp-22 0x1.ad8a9d4ba77d9p-26",
    ),
    ("expm1", "f32"): _floats(  # error 2**-25.9
        "0x1.fffffep-2 0x1.5554b8p-3 0x1.5556acp-5 0x1.122332p-7 0x1.6be3f8p-10",
    ),
    ("expm1", "f64"): _floats(  # error 2**-61.5
        "0x1.0000000000000p-1 0x1.5555555555559p-3 0x1.5555555555559p-5 0x1.111111110f722p-7",
        "0x1.6c16c16c16bb6p-10 0x1.a01a01af8e115p-13 0x1.a01a019c312cdp-16 0x1.71ddf961594d0p-19",
        "0x1.27e4fec8d3d6ap-22 0x1.af5cbe695ce79p-26 0x1.1f2e0b4b81d42p-29",
    ),
    ("exp2_wide", "f32"): _floats(  # error 2**-26.0
        "0x1.62e432p-1 0x1.ebfbf8p-3 0x1.c6afa4p-5 0x1.3b1fd4p-7 0x1.5dbb26p-10",
        "0x1.482428p-13 0x1.f5f952p-17",
    ),
    ("exp2_wide", "f64"): _floats(  # error 2**-58.6
        "0x1.62e42fefa39efp-1 0x1.ebfbdff82c58ep-3 0x1.c6b08d704a11ap-5 0x1.3b2ab6fba4f94p-7",
        "0x1.5d87fe78a11cfp-10 0x1.430912f84967fp-13 0x1.ffcbfc60da15bp-17 0x1.62c02275e9864p-20",
        "0x1.b525377d61ac8p-24 0x1.e4ceef1d17b3bp-28 0x1.e8cd716e39911p-32 0x1.c40a95a26ef41p-36",
        "0x1.8257c7139bc29p-40 0x1.1ac6db3402068p-44",
    ),
    ("exp2", "f32"): _floats(  # error 2**-28.1
        "0x1.62e430p-1 0x1.ebfbdcp-3 0x1.c6af74p-5 0x1.3b2e26p-7 0x1.5f0d48p-10",
        "0x1.412b3cp-13",
    ),
    ("exp2", "f64"): _floats(  # error 2**-57.6
        "0x1.62e42fefa39efp-1 0x1.ebfbdff82c59cp-3 0x1.c6b08d704a0d4p-5 0x1.3b2ab6fba11f1p-7",
        "0x1.5d87fe78b3ad0p-10 0x1.4309130c0201ep-13 0x1.ffcbfbf8e24e3p-17 0x1.62bfcddc6ba5cp-20",
        "0x1.b5260da4b6133p-24 0x1.e611a3399de79p-28 0x1.e80e92e373bf2p-32",
    ),
    ("log", "f32"): _floats(  # error 2**-27.3
        "-0x1.000000p-1 0x1.5555a4p-2 -0x1.00004cp-2 0x1.99697cp-3 -0x1.54eba0p-3",
        "0x1.287e5cp-3 -0x1.0db3bap-3 0x1.ad9ea2p-4 -0x1.73042ep-5",
    ),
    ("log", "f64"): _floats(  # error 2**-56.6
        "-0x1.ffffffffffffbp-2 0x1.55555555555c4p-2 -0x1.0000000000dc7p-2 0x1.99999999896bdp-3",
        "-0x1.55555553fdaf7p-3 0x1.24924929f672dp-3 -0x1.000000780914cp-3 0x1.c71c70ee1b7f6p-4",
        "-0x1.99996e0b7e2cfp-4 0x1.745ce366707d5p-4 -0x1.5559830c41c0ep-4 0x1.3b1ff75d551cbp-4",
        "-0x1.2463c5da947dep-4 0x1.101195217c4bbp-4 -0x1.ffeeda5d7fcfep-5 0x1.f2aa4f53bffedp-5",
        "-0x1.e9a81b37ca607p-5 0x1.9fb2c3930e0bcp-5 -0x1.e0f1303d1f4f2p-6 0x1.080277deae180p-7",
    ),
    ("log2", "f32"): _floats(  # error 2**-26.2
        "0x1.c551d8p-2 -0x1.715476p-1 0x1.ec719ep-2 -0x1.715584p-2 0x1.2744b8p-2",
        "-0x1.eb9dc2p-3 0x1.acb45ep-3 -0x1.87bc02p-3 0x1.363758p-3 -0x1.072410p-4",
    ),
    ("log2", "f64"): _floats(  # error 2**-55.9
        "0x1.c551d94ae0bf8p-2 -0x1.71547652b82fep-1 0x1.ec709dc3a0634p-2 -0x1.71547652b8738p-2",
        "0x1.2776c50ed6b84p-2 -0x1.ec709dc2b7d24p-3 0x1.a61762c17c0fap-3 -0x1.715476cf66e2ep-3",
        "0x1.484b0f9b38525p-3 -0x1.2776a761fced0p-3 0x1.0c9ac60a337b6p-3 -0x1.ec77a139d1d1bp-4",
        "0x1.c6952338c7053p-4 -0x1.a5b2e9d0a5808p-4 0x1.88c503c0e5a41p-4 -0x1.72cdd0798e192p-4",
        "0x1.68d8d7ccc4be0p-4 -0x1.5c0973890839cp-4 0x1.1e4574cbb4f84p-4 -0x1.40bb9731ce807p-5",
        "0x1.573a600ea9b24p-7",
    ),
    ("log10", "f32"): _floats(  # error 2**-26.1
        "-0x1.0d213cp-4 -0x1.bcb7b2p-3 0x1.287b4ap-3 -0x1.bcb938p-4 0x1.6370aap-4",
        "-0x1.27ca1ep-4 0x1.033b3ap-4 -0x1.de2bcap-5 0x1.76038ap-5 -0x1.2f47b6p-6",
    ),
    ("log10", "f64"): _floats(  # error 2**-55.9
        "-0x1.0d213ab646bc7p-4 -0x1.bcb7b1526e50cp-3 0x1.287a7636f437bp-3 -0x1.bcb7b1526f684p-4",
        "0x1.63c627751c15fp-4 -0x1.287a7635ff045p-4 0x1.fc3fa61c18fcbp-5 -0x1.bcb7b208aa266p-5",
        "0x1.8b4df26b99c2dp-5 -0x1.63c6051709a28p-5 0x1.436e26101f746p-5 -0x1.287dd8c48e847p-5",
        "0x1.11b659d0b3b35p-5 -0x1.fbf2fdc221f7fp-6 0x1.d8afbf58a59c7p-6 -0x1.bca2e6bb6557bp-6",
        "0x1.b0d375aa87fedp-6 -0x1.a8f010c520616p-6 0x1.6947e02a37432p-6 -0x1.a32488e108576p-7",
        "0x1.cdb332f09cdd1p-9",
    ),
    ("tanh", "f32"): _floats(  # error 2**-26.0
        "-0x1.5554f6p-2 0x1.10fb0ap-3 -0x1.b6c364p-5 0x1.4939d6p-6 -0x1.50e318p-8",
    ),
    ("tanh", "f64"): _floats(  # error 2**-61.8
        "-0x1.5555555555553p-2 0x1.1111111110e1dp-3 -0x1.ba1ba1b9f1bd6p-5 0x1.664f487961a0ep-6",
        "-0x1.226e3420efbc0p-7 0x1.d6d39ab5b096dp-9 -0x1.7da041897025fp-10 0x1.3537a5cbd45c2p-11",
        "-0x1.f39f67752a36ep-13 0x1.8cb6d27d84c00p-14 -0x1.255f51fc84686p-15 0x1.5df2c90fc9f96p-17",
        "-0x1.dba1684e54fdap-20",
    ),
    ("sinh", "f32"): _floats(  # error 2**-31.6
        "0x1.555556p-3 0x1.1110e0p-7 0x1.a022bcp-13 0x1.756c16p-19",
    ),
    ("sinh", "f64"): _floats(  # error 2**-63.0
        "0x1.5555555555555p-3 0x1.111111111119bp-7 0x1.a01a01a00735dp-13 0x1.71de3a68cfda7p-19",
        "0x1.ae6441233effep-26 0x1.61314cbf89965p-33 0x1.a665ce8fe7f7cp-41 0x1.d289462574dcbp-48",
    ),
    ("sin32", "f32"): _floats(  # error 2**-27.2
        "-0x1.55554cp-3 0x1.110ed4p-7 -0x1.9f6f58p-13 0x1.5daa2ap-19",
    ),
    ("sin64", "f64"): _floats(  # error 2**-61.9
        "-0x1.5555555555555p-3 0x1.11111111110cep-7 -0x1.a01a01a0157bdp-13 0x1.71de3a530bc1cp-19",
        "-0x1.ae64551c50a72p-26 0x1.6123e82957f42p-33 -0x1.ae4f2c5ae4637p-41 0x1.8adbbf6dc258fp-49",
        "-0x1.009b57c768a9bp-59",
    ),
    ("tan", "f32"): _floats(  # error 2**-29.3
        "0x1.555562p-2 0x1.110d1ap-3 0x1.baf0bcp-5 0x1.5bd55ep-6 0x1.678ab0p-7",
        "-0x1.640c68p-14 0x1.247956p-8",
    ),
    ("tan", "f64"): _floats(  # error 2**-63.4
        "0x1.5555555555555p-2 0x1.11111111111c7p-3 0x1.ba1ba1ba0e05ap-5 0x1.664f48869acb2p-6",
        "0x1.226e34bd51099p-7 0x1.d6d3f2a992e29p-9 0x1.7da0f93eb09f1p-10 0x1.35779a92d62dfp-11",
        "0x1.f32a37cf1e7b0p-13 0x1.a6b13ec232900p-14 0x1.ec4092f968da7p-16 0x1.22c7ec65aa80bp-15",
        "-0x1.3d92bc69b029cp-16 0x1.b87ce9b0722dfp-16 -0x1.aea9cb069903cp-17 0x1.34288fee063ebp-18",
    ),
    ("asin", "f32"): _floats(  # error 2**-27.6
        "0x1.5555c8p-3 0x1.330204p-4 0x1.747bb6p-5 0x1.8c3e8cp-6 0x1.595c02p-5",
    ),
    ("asin", "f64"): _floats(  # error 2**-59.9
        "0x1.5555555555577p-3 0x1.333333332e133p-4 0x1.6db6db72123e2p-5 0x1.f1c71a9507ea3p-6",
        "0x1.6e8bdedd77331p-6 0x1.1c49f095d9b92p-6 0x1.ca1f878ec3df3p-7 0x1.7585bd8a4049fp-7",
        "0x1.613b5751e6c1fp-7 0x1.e608bc236e2c3p-9 0x1.639657c4222e8p-6 -0x1.57f48206e20a6p-6",
        "0x1.0b43d5d05c21bp-5",
    ),
    ("atan", "f32"): _floats(  # error 2**-28.1
        "-0x1.55553ep-2 0x1.9991e4p-3 -0x1.242086p-3 0x1.c08c38p-4 -0x1.58088ap-4",
        "0x1.da26bep-5 -0x1.fd7448p-6 0x1.641668p-7 -0x1.d33896p-10",
    ),
    ("atan", "f64"): _floats(  # error 2**-56.4
        "-0x1.5555555555526p-2 0x1.99999999955b3p-3 -0x1.249249237f532p-3 0x1.c71c717fcecb8p-4",
        "-0x1.745d11ae710aap-4 0x1.3b13669a55566p-4 -0x1.110e512ac8274p-4 0x1.e1bba6b1d3418p-5",
        "-0x1.ae5e74558d56fp-5 0x1.82dade11c1a55p-5 -0x1.59a4129cae4f4p-5 0x1.2c2e8908e96a8p-5",
        "-0x1.e9faa72c4fcaap-6 0x1.683d9536a194ep-6 -0x1.c7916793188edp-7 0x1.d7bb901b104fbp-8",
        "-0x1.7a3c381615a96p-9 0x1.b3feac157925bp-11 -0x1.3f39d013f61c6p-13 0x1.bbf37c1a0aec4p-17",
    ),
    ("erf", "f32"): _floats(  # error 2**-29.4
        "0x1.06eba8p-3 -0x1.81273ep-2 0x1.ce2ce6p-4 -0x1.b7f71ap-6 0x1.53f224p-8",
        "-0x1.a3515ep-11 0x1.4771f8p-14",
    ),
    ("erf", "f64"): _floats(  # error 2**-56.3
        "0x1.06eba8214db69p-3 -0x1.812746b037a25p-2 0x1.ce2f21a0458d3p-4 -0x1.b82ce31354a07p-6",
        "0x1.565bcd2c58a22p-8 -0x1.c02db930aeb1cp-11 0x1.f9a3b8fd02196p-14 -0x1.f4dce9cd5c68dp-17",
        "0x1.ba68a730e6f3bp-20 -0x1.638cc4a1860a4p-23 0x1.13093e81c9eddp-26 -0x1.c41e97c63e0b3p-30",
        "0x1.3ac127f559213p-33",
    ),
    ("erf_far", "f32"): _floats(  # error 2**-26.3
        "-0x1.aab886p-12 0x1.1d7fe4p-9 -0x1.64e34ap-8 0x1.11ab46p-7 -0x1.1a8c56p-7",
        "0x1.906116p-8 -0x1.6ea75ep-9 0x1.25a292p-11 0x1.0f0880p-12 -0x1.1b886cp-12",
        "0x1.54d316p-14 0x1.28a60cp-16 -0x1.088e64p-16 0x1.117528p-21 0x1.e12a78p-21",
    ),
    ("erfcx", "f32"): _floats(  # error 2**-24.7
        "0x1.3ba592p+0 -0x1.1df1aep-3 0x1.f7d402p-7 0x1.16ed34p-4 -0x1.9d8946p-4",
        "0x1.7feb60p-4 -0x1.11f33cp-4 0x1.308c28p-5 -0x1.d8fd7ap-7 0x1.4949a0p-8",
        "-0x1.b71950p-9 -0x1.c098eap-13 0x1.9bf3d8p-10",
    ),
    ("erfcx", "f64"): _floats(  # error 2**-54.1
        "0x1.3ba5916e9fd7fp+0 -0x1.1df1ad154a28cp-3 0x1.f7f5df66fac24p-7 0x1.16ecefcfa5105p-4",
        "-0x1.9ddb23c3d17b6p-4 0x1.7fee004e1a761p-4 -0x1.0fb06e00c5a5bp-4 0x1.3079edf4f04bbp-5",
        "-0x1.096237fb5b463p-6 0x1.49c6733612bafp-8 -0x1.8d4b250af864ep-11 -0x1.a1dfe0dd99ce7p-13",
        "0x1.3beb32df295d5p-13 -0x1.99398f6ec8546p-16 -0x1.7abca050b0b14p-17 0x1.7d6cfc0749de2p-18",
        "0x1.cd5c469b5aefbp-22 -0x1.9be2d105ad0e6p-21 -0x1.b3110c13370ffp-24 0x1.f5e7d434c228bp-26",
        "0x1.dc69e865b1775p-24 0x1.a6b45c69a4c5dp-25 -0x1.4e7b890a41cf2p-25 -0x1.5927705be6f57p-26",
    ),
    ("pow32_log2", "f64"): _floats(  # error 2**-33.2
        "0x1.715476532c3c8p+0 -0x1.71547633eafadp-1 0x1.ec70996baffd5p-2 -0x1.71549e81ea736p-2",
        "0x1.27789bc76c77dp-2 -0x1.ec65a2c148972p-3 0x1.a5852e63ac46fp-3 -0x1.7148b5dc5d5cfp-3",
        "0x1.513775d51dd2cp-3 -0x1.391462d2f02c4p-3 0x1.d91d8b3fc97dfp-4 -0x1.704a3de2028e5p-5",
    ),
    ("pow32_exp2", "f64"): _floats(  # error 2**-29.0
        "0x1.00000002621d6p+0 0x1.62e430c7bd439p-1 0x1.ebfbdad92e950p-3 0x1.c6aed4e0d44e9p-5",
        "0x1.3b2dbe664c719p-7 0x1.5f4559dbeff25p-10 0x1.41d1382097584p-13",
    ),
    ("pow_log", "f64"): _floats(  # error 2**-76.5
        "0x1.999999999999ap-3 0x1.249249249238cp-3 0x1.c71c71c73d1fcp-4 0x1.745d1734ab86fp-4",
        "0x1.3b13b68e4d9abp-4 0x1.111009cbb3dc0p-4 0x1.e221a1fb401a3p-5 0x1.aa7bff299759cp-5",
        "0x1.b597f15aeb937p-5 0x1.654cdc76f320cp-6",
    ),
}
